"""A trainer, callbacks and a clock for tests of the training loop."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from faceter.contracts.jobs import Training
from workers.jobs import checkpoints
from workers.jobs.checkpoints import State
from workers.training.callbacks import Callbacks
from workers.training.monitor import Measured, Monitor
from workers.training.trainer import Losses, Trainer


class Clock:
    """Seconds as the test sets them."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class FakeTrainer(Trainer):
    """One weight, to which each step adds its number times the rate; losses are given.

    Args:
        losses: The loss of each call of `step`, in order.
        clock: Each step takes one second of it.
        phases: The first step of each phase after the first.
        spoiled: Calls of `step`, from 1, after which the weight is NaN.
    """

    def __init__(
        self,
        losses: Sequence[float],
        *,
        clock: Clock | None = None,
        phases: Sequence[int] = (),
        spoiled: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.weight = torch.zeros(1)
        self.steps = 0
        self.calls: list[tuple[int, float]] = []
        self.fractions: list[float] = []
        self.finalized = False
        self._losses = losses
        self._clock = clock or Clock()
        self._phases = phases
        self._spoiled = spoiled
        self._phase = 0

    @property
    def phase(self) -> str:
        return f"phase {self._phase}"

    def enter_phase(self, fraction: float) -> None:
        self._phase = sum(self.steps >= first for first in self._phases)

    def step(self, fraction: float) -> Losses:
        self.calls.append((self.steps, self.rate))
        self.fractions.append(fraction)
        self._clock.now += 1.0
        loss = self._losses[len(self.calls) - 1]
        self.steps += 1
        self.weight += self.steps * self.rate
        if len(self.calls) in self._spoiled or not math.isfinite(loss):
            self.weight[0] = math.nan
        return {"loss": torch.tensor(loss), "twice": 2 * loss}

    def finalize(self) -> None:
        self.finalized = True

    def is_finite(self) -> bool:
        return bool(self.weight.isfinite().all())

    def state(self) -> State:
        return {"weight": self.weight, "steps": self.steps, "phase": self._phase}

    def restore(self, state: State) -> None:
        self.weight.copy_(state["weight"])
        self.steps, self._phase = state["steps"], state["phase"]


class KilledError(Exception):
    """Raised in place of the death of a worker."""


class RecordingCallbacks(Callbacks):
    """Callbacks that record progress, and write a checkpoint every few steps.

    Args:
        every: Steps between checkpoints; 0 for none.
        stop_after: Steps after which the run is to finish early.
        killed_after: Steps after which the worker is killed.
        checkpoint: Left by an earlier attempt.
    """

    def __init__(
        self,
        *,
        every: int = 0,
        stop_after: int | None = None,
        killed_after: int | None = None,
        checkpoint: bytes | None = None,
    ) -> None:
        self.reports: list[tuple[float, Training]] = []
        self.checkpoint = checkpoint
        self.checkpoints: list[bytes] = []
        self._every = every
        self._stop_after = stop_after
        self._killed_after = killed_after

    def progress(self, fraction: float, training: Training) -> None:
        self.reports.append((fraction, training))

    def stop_requested(self) -> bool:
        if len(self.reports) == self._killed_after:
            raise KilledError
        return len(self.reports) == self._stop_after

    def checkpoint_due(self) -> bool:
        return bool(self._every) and len(self.reports) % self._every == 0

    def save_checkpoint(self, state: State) -> None:
        self.checkpoint = checkpoints.dump(state)
        self.checkpoints.append(self.checkpoint)

    def load_checkpoint(self) -> State | None:
        return None if self.checkpoint is None else checkpoints.load(self.checkpoint)


class CountingMonitor(Monitor):
    """Measures how often it measured, in percent."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.finalized_at: int | None = None

    def measure(self, step: int) -> Measured:
        self.steps.append(step)
        return {"agreement": len(self.steps) / 100}

    def finalize(self, step: int) -> Measured:
        self.finalized_at = step
        return {"agreement": 1.0, "accuracy": 0.5}

    def state(self) -> State:
        return {"steps": list(self.steps)}

    def restore(self, state: State) -> None:
        self.steps = state["steps"]
