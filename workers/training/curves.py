"""Loss curves in a bounded number of points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class LossMeans:
    """One point of the curves.

    Args:
        step: The last step of the point.
        seconds: Seconds of training by then.
        phase: Phase of that step.
        losses: Mean of each loss over the steps since the point before.
        measured: What was measured at that step, by name; None where it could not be.
    """

    step: int
    seconds: float
    phase: str
    losses: Mapping[str, float]
    measured: Mapping[str, float | None] = field(default_factory=dict)


class Curves:
    """Means of losses, one point for each of equal fractions of the budget. Every step is part of one point.

    Args:
        most: Points at most, those beside that end where something was measured.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._points: list[LossMeans] = []
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self._last: tuple[int, float, str] | None = None
        self._parts = 0

    def add(self, step: int, seconds: float, phase: str, losses: Mapping[str, float]) -> None:
        """Add the losses of one step to the open point.

        Args:
            step: Steps taken by now.
            seconds: Seconds of training by now.
            phase: Phase of the step.
            losses: By name; a step need not have all.
        """
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + 1
        self._last = step, seconds, phase

    def close(self, fraction: float) -> None:
        """End the open point if another fraction of the budget is used up, except at the very end.

        Args:
            fraction: Used fraction of the budget.
        """
        parts = int(fraction * self._most)
        if parts > self._parts and fraction < 1:
            self._parts = parts
            if self._last is not None:
                self._end()

    def measure(self, step: int, seconds: float, phase: str, measured: Mapping[str, float | None]) -> None:
        """End the open point with what was measured now."""
        self._last = step, seconds, phase
        self._end(measured)

    def points(self) -> list[LossMeans]:
        """Return all points in order, the open one included."""
        return [*self._points, *([] if self._last is None else [self._open()])]

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint holds."""
        return {
            "points": [asdict(point) for point in self._points],
            "sums": dict(self._sums),
            "counts": dict(self._counts),
            "last": None if self._last is None else list(self._last),
            "parts": self._parts,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state` returned."""
        self._points = [LossMeans(**point) for point in state["points"]]
        self._sums, self._counts = dict(state["sums"]), dict(state["counts"])
        self._last = None if state["last"] is None else (state["last"][0], state["last"][1], state["last"][2])
        self._parts = state["parts"]

    def _end(self, measured: Mapping[str, float | None] | None = None) -> None:
        self._points.append(self._open(measured))
        self._sums, self._counts, self._last = {}, {}, None

    def _open(self, measured: Mapping[str, float | None] | None = None) -> LossMeans:
        assert self._last is not None
        step, seconds, phase = self._last
        means = {name: total / self._counts[name] for name, total in self._sums.items()}
        return LossMeans(step, round(seconds, 3), phase, means, dict(measured or {}))
