"""Progress of a job in weighted stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from faceter.contracts.jobs import Training

Report = Callable[[str, float, Training | None], None]
"""Takes the current step in words, the fraction of the whole that is done, 0 to 1, and the state of training."""


class Stages:
    """Stages of a job, one after another, each as long as its weight says.

    Stages can be nested: :meth:`Stage.stages` divides a stage.

    Args:
        report: Called on every step of progress.
        weights: Expected seconds of each stage, in order; only their ratios count. A stage may have the weight 0.

    Raises:
        ValueError: If a weight is negative, or all are 0.
    """

    def __init__(self, report: Report, weights: Mapping[str, float]) -> None:
        total = sum(weights.values())
        if total <= 0 or min(weights.values()) < 0:
            raise ValueError("weights of stages must not be negative, and not all 0")
        self._report = report
        self._bounds: dict[str, tuple[float, float]] = {}
        done = 0.0
        for name, weight in weights.items():
            self._bounds[name] = (done / total, (done + weight) / total)
            done += weight
        self._names = list(weights)
        self._entered = -1

    def enter(self, name: str) -> Stage:
        """Begin a stage and report it. All stages before it count as done, those left out included.

        Args:
            name: Key of the weights; also the step that is reported.

        Raises:
            ValueError: If there is no such stage, or a later one was entered before.
        """
        index = self._names.index(name)
        if index < self._entered:
            raise ValueError(f"stage {name!r} comes before {self._names[self._entered]!r}")
        self._entered = index
        stage = Stage(self._report, name, *self._bounds[name])
        stage(0.0)
        return stage


class Stage:
    """One stage; call it with the fraction of it that is done.

    Args:
        report: Called on every call of the stage.
        step: Reported where a call names no other step.
        start: Fraction of the whole at which the stage begins.
        end: Fraction of the whole at which it ends.
    """

    def __init__(self, report: Report, step: str, start: float = 0.0, end: float = 1.0) -> None:
        self._report = report
        self._step = step
        self._start = start
        self._end = end

    def __call__(self, fraction: float, step: str | None = None, training: Training | None = None) -> None:
        """Report progress.

        Args:
            fraction: How much of this stage is done, 0 to 1.
            step: What the job is doing; the stage's name if not given.
            training: For a stage that trains: its losses and measurements.
        """
        self._report(self._step if step is None else step, self._at(fraction), training)

    @property
    def span(self) -> tuple[float, float]:
        """Fractions of the whole at which the stage begins and ends."""
        return self._start, self._end

    @property
    def step(self) -> str:
        """The step that is reported."""
        return self._step

    def part(self, start: float, end: float, step: str | None = None) -> Stage:
        """Return the part of this stage between two fractions of it.

        Args:
            start: Fraction of this stage at which the part begins.
            end: Fraction of this stage at which it ends.
            step: Reported where a call names no other step; this stage's if not given.
        """
        return Stage(self._report, self._step if step is None else step, self._at(start), self._at(end))

    def stages(self, weights: Mapping[str, float]) -> Stages:
        """Divide this stage into weighted stages of its own."""
        return Stages(lambda step, fraction, training: self(fraction, step, training), weights)

    def _at(self, fraction: float) -> float:
        return self._start + fraction * (self._end - self._start)


SILENT: Final = Stage(lambda step, fraction, training: None, "")
"""A stage that reports to nobody."""
