"""The training loop: budget, phases, divergence, measurements, curves, checkpoints, progress."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
from torch import Tensor

from faceter.contracts.jobs import Training
from workers.jobs.checkpoints import State, frozen
from workers.training.budget import Budget
from workers.training.callbacks import Callbacks
from workers.training.curves import Curves, LossMeans
from workers.training.monitor import Measured, Monitor
from workers.training.trainer import Losses, Trainer

_log = logging.getLogger("faceter.worker")

EndedBy = Literal["budget", "request", "diverged"]
"""Why a run ended."""

_MEASUREMENTS: Final = 40
_RECENT_STEPS: Final = 100


@dataclass(frozen=True)
class DivergencePolicy:
    """What to do when a loss, or a weight, is no longer finite: go back to a good state at a lower rate.

    Args:
        back_to: The good state. ``phase``: that at the beginning of the phase; steps since then stay counted, and when
            it diverges once more often than ``restarts`` the run fails. ``checkpoint``: that of the last checkpoint, or
            of the beginning; steps since then are taken off the budget and the curves, and when it diverges once more
            often the run ends with that state, or fails if there was no checkpoint yet.
        rate_factor: Factor on the learning rates when it goes back.
        restarts: How often it goes back.
    """

    back_to: Literal["phase", "checkpoint"]
    rate_factor: float
    restarts: int = 1


class DivergedError(Exception):
    """A run that diverged for good, with nothing to end with.

    Args:
        reason: What is not finite.
        steps: Steps taken.
        points: The curves up to here.
    """

    def __init__(self, reason: str, steps: int, points: list[LossMeans]) -> None:
        super().__init__(f"{reason} after {steps} steps")
        self.reason = reason
        self.steps = steps
        self.points = points


@dataclass(frozen=True)
class RunResult:
    """How a run ended; what was learned is in its trainer.

    Args:
        ended_by: Why it ended.
        steps: Steps taken.
        seconds: Seconds of training, those before an interruption included.
        losses: Mean of each loss over the last 100 steps of the last phase.
        points: The curves.
        phases: Name, steps and seconds of each phase, in order.
        restarts: How often it went back after divergence.
        resumed: How often it was resumed from a checkpoint.
    """

    ended_by: EndedBy
    steps: int
    seconds: float
    losses: Mapping[str, float]
    points: list[LossMeans]
    phases: list[dict[str, Any]]
    restarts: int
    resumed: int


@dataclass
class _GoodState:
    """A state to go back to."""

    trainer: State
    steps: int
    curves: State


class TrainingLoop:
    """Trains until the budget is used up or the job is to finish early.

    Replicas each run a loop of their own; the first one decides when it ends and when a checkpoint is due, and alone
    measures.

    With a budget in steps what is learned depends on the trainer only: a run that is resumed from a checkpoint ends bit
    for bit as an uninterrupted one, on the same machine.

    Args:
        trainer: Before its first step.
        budget: How long.
        policy: What to do when it diverges.
        callbacks: Those of the job.
        monitor: Measures the networks 40 times and at the end.
        points: Points of the curves at most, beside those with measurements.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        trainer: Trainer,
        budget: Budget,
        policy: DivergencePolicy,
        *,
        callbacks: Callbacks | None = None,
        monitor: Monitor | None = None,
        points: int = 200,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.trainer = trainer
        self.budget = budget
        self.curves = Curves(points)
        self.resumed = 0
        self._policy = policy
        self._callbacks = callbacks or Callbacks()
        self._replicas = self._callbacks.replicas
        self._monitor = monitor if monitor is not None and self._replicas.is_first else Monitor()
        self._clock = clock
        self._recent: deque[tuple[float, Mapping[str, float]]] = deque(maxlen=_RECENT_STEPS + 1)
        self._phases: list[dict[str, Any]] = []
        self._measured: Measured = {}
        self._measurements = -1
        self._restarts = 0
        self._good: _GoodState | None = None

    def run(self) -> RunResult:
        """Train to the end.

        Raises:
            DivergedError: If it diverged once more than the policy allows, and has no good state to end with.
        """
        state = self._callbacks.load_checkpoint()
        if state is not None:
            self.restore(state)
            self.resumed += 1
        if self._good is None:
            self._good = self._current_state()
        ended: EndedBy | None = None
        while ended is None:
            ended = self._advance()
        if self.budget.taken:
            self.trainer.finalize()
            self._measure(self._monitor.finalize(self.budget.taken))
        points = self.curves.points()
        return RunResult(
            ended_by=ended,
            steps=self.budget.taken,
            seconds=self.budget.seconds,
            losses=self._recent_losses() or (points[-1].losses if points else {}),
            points=points,
            phases=self._phases,
            restarts=self._restarts,
            resumed=self.resumed,
        )

    def state(self) -> State:
        """Return everything that a later step depends on, curves and measurements included; not copied."""
        good = self._good if self._policy.back_to == "phase" else None
        return {
            "trainer": self.trainer.state(),
            "rate": self.trainer.rate,
            "budget": self.budget.state(),
            "curves": self.curves.state(),
            "monitor": self._monitor.state(),
            "phases": [dict(phase) for phase in self._phases],
            "measured": dict(self._measured),
            "measurements": self._measurements,
            "restarts": self._restarts,
            "resumed": self.resumed,
            "good": None if good is None else vars(good),
        }

    def restore(self, state: State) -> None:
        """Go on from what :meth:`state` returned."""
        self.trainer.restore(frozen(state["trainer"]))
        self.trainer.rate = state["rate"]
        self.budget.restore(state["budget"])
        self.curves.restore(state["curves"])
        self._monitor.restore(state["monitor"])
        self._phases, self._measured = state["phases"], state["measured"]
        self._measurements = state["measurements"]
        self._restarts, self.resumed = state["restarts"], state["resumed"]
        self._good = self._current_state() if state["good"] is None else _GoodState(**state["good"])

    def _advance(self) -> EndedBy | None:
        """Take a step, or return why there is none to take."""
        began, fraction = self.budget.seconds, self.budget.fraction
        fraction, is_stopped = self._replicas.agreed(fraction, fraction < 1.0 and self._callbacks.stop_requested())
        if fraction >= 1.0:
            return self._end("budget")
        if is_stopped:
            return self._end("request")
        before = self.trainer.phase
        self.trainer.enter_phase(fraction)
        if self.trainer.phase != before:
            self._recent.clear()
            if self._policy.back_to == "phase":
                self._good = self._current_state()
        losses = _scalars(self.trainer.step(fraction))
        self.budget.count()
        wrong = [f"{name} is {value}" for name, value in losses.items() if not math.isfinite(value)]
        if wrong:
            return self._recover(", ".join(wrong))
        self._count_in_phase(self.budget.seconds - began)
        self._record(losses)
        [is_due] = self._replicas.agreed(self._callbacks.checkpoint_due())
        if is_due:
            if not self.trainer.is_finite():
                return self._recover("weights are not finite")
            if self._policy.back_to == "checkpoint":
                self._good = self._current_state()
            self._callbacks.save_checkpoint(self.state())
        return None

    def _count_in_phase(self, seconds: float) -> None:
        if not self._phases or self._phases[-1]["name"] != self.trainer.phase:
            self._phases.append({"name": self.trainer.phase, "steps": 0, "seconds": 0.0})
        phase = self._phases[-1]
        phase["steps"] += 1
        phase["seconds"] = round(phase["seconds"] + seconds, 3)

    def _record(self, losses: Mapping[str, float]) -> None:
        """Add a step to the curves, measure if it is time, and report progress."""
        steps, seconds, fraction = self.budget.taken, self.budget.seconds, self.budget.fraction
        self._recent.append((self._clock(), losses))
        self.curves.add(steps, seconds, self.trainer.phase, losses)
        if (measurements := int(fraction * _MEASUREMENTS)) > self._measurements and fraction < 1:
            self._measurements = measurements
            self._measure(self._monitor.measure(steps))
        self.curves.close(fraction)
        training = Training(
            phase=self.trainer.phase,
            step=steps,
            losses=self._recent_losses(),
            agreement=self._measured.get("agreement"),
            accuracy=self._measured.get("accuracy"),
            steps_per_second=self._steps_per_second(),
        )
        self._callbacks.progress(fraction, training)

    def _measure(self, measured: Measured | None) -> None:
        if measured is None:
            return
        self._measured = measured
        self.curves.measure(self.budget.taken, self.budget.seconds, self.trainer.phase, measured)

    def _recent_losses(self) -> dict[str, float]:
        """Return the mean of each loss over the last 100 steps of the phase that have it."""
        found: dict[str, list[float]] = {}
        for _, losses in list(self._recent)[-_RECENT_STEPS:]:
            for name, value in losses.items():
                found.setdefault(name, []).append(value)
        return {name: sum(values) / len(values) for name, values in found.items()}

    def _steps_per_second(self) -> float | None:
        passed = self._recent[-1][0] - self._recent[0][0]
        return (len(self._recent) - 1) / passed if passed > 0 else None

    def _current_state(self) -> _GoodState:
        return _GoodState(frozen(self.trainer.state()), self.budget.taken, self.curves.state())

    def _end(self, ended_by: EndedBy) -> EndedBy:
        if self.trainer.is_finite():
            return ended_by
        return self._give_up("the weights after the last step are not finite")

    def _recover(self, reason: str) -> EndedBy | None:
        """Go back to the good state at a lower rate; end, if that was done too often."""
        if self._restarts >= self._policy.restarts:
            return self._give_up(reason)
        self._restarts += 1
        rate = self.trainer.rate * self._policy.rate_factor
        self._go_back()
        self.trainer.rate = rate
        _log.warning("training goes on from a good state at %g of the rate: %s", self._policy.rate_factor, reason)
        return None

    def _give_up(self, reason: str) -> EndedBy:
        """End with the state of the last checkpoint.

        Raises:
            DivergedError: If the policy knows none.
        """
        assert self._good is not None
        if self._policy.back_to == "phase" or not self._good.steps:
            raise DivergedError(reason, self.budget.taken, self.curves.points())
        self._go_back()
        return "diverged"

    def _go_back(self) -> None:
        assert self._good is not None
        self.trainer.restore(frozen(self._good.trainer))
        self._recent.clear()
        if self._policy.back_to == "checkpoint":
            self.budget.taken = self._good.steps
            self.curves.restore(self._good.curves)


def _scalars(losses: Losses) -> dict[str, float]:
    """Return losses as numbers; those on one device with one transfer."""
    tensors = [value for value in losses.values() if isinstance(value, Tensor)]
    alike = len({(value.device, value.dtype) for value in tensors}) == 1
    if alike and len(tensors) == len(losses):
        return dict(zip(losses, torch.stack(tensors).tolist(), strict=True))
    return {name: float(value) for name, value in losses.items()}
