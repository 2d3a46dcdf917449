"""Several runs of the training loop, one after another, in one budget and under one checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from faceter.contracts.jobs import Training
from faceter.contracts.quantizations import CurvePoint, Phase
from faceter.graphs.quantization_plan import QuantizationPlan
from workers.jobs.checkpoints import State
from workers.quantization.tuning.fit import TuningResult, fit
from workers.quantization.tuning.hold_out import Accuracy
from workers.quantization.tuning.trainer import TuningTrainer
from workers.training.budget import Budget
from workers.training.callbacks import Callbacks


@dataclass
class _SequencedRun:
    """Where a run begins in the sequence.

    Args:
        limit: Its part of the budget, in steps or seconds.
        steps: Steps taken before it.
        seconds: Seconds spent before it.
        done: Progress of the sequence before it, 0 to 1.
    """

    limit: float
    steps: int
    seconds: float
    done: float


class RunSequence:
    """Runs of the training loop that share one budget.

    A checkpoint is saved while a run is in progress; it holds :attr:`saved` and the state of that run. After an
    interruption the caller repeats its steps, skipping the runs whose results it finds in :attr:`saved`; the next run
    resumes where it was.

    Attributes:
        saved: Results of the caller that survive an interruption: tensors, numbers and text in dicts and lists.
        done: Progress of the sequence, 0 to 1.
        restarts: Number of restarts at a lower learning rate, over all runs.
        resumed: Number of resumptions from a checkpoint.
        stopped: Whether an early end was requested.
    """

    def __init__(self, budget: Budget, callbacks: Callbacks) -> None:
        self.budget = budget
        self.saved: State = {}
        self.done = 0.0
        self.restarts = 0
        self.resumed = 0
        self.stopped = False
        self._callbacks = callbacks
        self._finished = 0
        self._runs: list[_SequencedRun] = []
        self._phases: list[dict[str, Any]] = []
        self._curves: list[dict[str, Any]] = []
        self._inner: State | None = None
        self._restore(callbacks.load_checkpoint())

    @property
    def remaining(self) -> float:
        """Steps or seconds left of the budget."""
        if self.budget.limit_steps is not None:
            return max(0, self.budget.limit_steps - self.budget.taken)
        return max(0.0, (self.budget.limit_seconds or 0.0) - self.budget.seconds)

    @property
    def curves(self) -> list[CurvePoint]:
        """Losses and agreement over all runs."""
        return [CurvePoint(**point) for point in self._curves]

    @property
    def phases(self) -> list[Phase]:
        """Steps and seconds by phase, over all runs."""
        return [Phase(**phase) for phase in self._phases]

    @property
    def ended_by(self) -> Literal["budget", "request"]:
        """Whether the budget or a request ended it."""
        return "request" if self.stopped else "budget"

    def run(
        self,
        trainer: TuningTrainer,
        start: QuantizationPlan,
        share: float,
        accuracy: Accuracy = lambda network: None,
    ) -> TuningResult:
        """Run a trainer for a part of the remaining budget; see :func:`fit`.

        Args:
            trainer: A trainer before its first step.
            start: The rounded network.
            share: Fraction of the remaining budget.
            accuracy: Measured beside agreement, for display only.

        Returns:
            Its result; its ``kept_step`` counts from the beginning of this run.
        """
        if len(self._runs) == self._finished:
            self._runs.append(_SequencedRun(share * self.remaining, self.budget.taken, self.budget.seconds, self.done))
        current = self._runs[self._finished]
        in_steps = self.budget.limit_steps is not None
        budget = Budget(steps=round(current.limit)) if in_steps else Budget(seconds=current.limit)
        inner, self._inner = self._inner, None
        tuned = fit(trainer, start, budget, _SequencedCallbacks(self._callbacks, self, current, share, inner), accuracy)
        self._finished += 1
        self.budget.taken = current.steps + budget.taken
        self.done = current.done + share * (1 - current.done)
        self.restarts += tuned.tuning.restarts
        self.resumed += tuned.tuning.resumed
        self.stopped = self.stopped or tuned.tuning.ended_by == "request"
        self._phases += [phase.model_dump() for phase in tuned.tuning.phases]
        for point in tuned.curves:
            offset = {"step": current.steps + point.step, "seconds": round(current.seconds + point.seconds, 3)}
            self._curves.append(point.model_dump() | offset)
        return tuned

    def untrained_phase(self, phase: str, share: float) -> Callable[[float], None]:
        """Begin a phase without training steps and return the function to report its progress to, 0 to 1.

        Args:
            phase: Name of the phase.
            share: Fraction of the remaining progress that it counts for.
        """
        began, done = self.budget.seconds, self.done

        def report(fraction: float) -> None:
            self.done = done + share * (1 - done) * fraction
            self._callbacks.progress(self.done, Training(phase=phase, step=self.budget.taken))
            if fraction >= 1.0:
                self._phases.append({"name": phase, "steps": 0, "seconds": round(self.budget.seconds - began, 3)})

        return report

    def stop_requested(self) -> bool:
        """Whether an early end was requested."""
        self.stopped = self.stopped or self._callbacks.stop_requested()
        return self.stopped

    def state(self, inner: State) -> State:
        """Return the state for a checkpoint.

        Args:
            inner: The checkpoint of the current run.
        """
        return {
            "saved": self.saved,
            "budget": self.budget.state(),
            "restarts": self.restarts,
            "resumed": self.resumed,
            "finished": self._finished,
            "runs": [vars(run) for run in self._runs],
            "phases": self._phases,
            "curves": self._curves,
            "inner": inner,
        }

    def _restore(self, state: State | None) -> None:
        if state is None:
            return
        self.saved = state["saved"]
        self.budget.restore(state["budget"])
        self.restarts, self.resumed = state["restarts"], state["resumed"]
        self._finished = state["finished"]
        self._runs = [_SequencedRun(**run) for run in state["runs"]]
        self._phases, self._curves = state["phases"], state["curves"]
        self._inner = state["inner"]
        self.done = self._runs[-1].done


class _SequencedCallbacks(Callbacks):
    """The callbacks of the job as one run of the sequence sees them."""

    def __init__(
        self, callbacks: Callbacks, sequence: RunSequence, run: _SequencedRun, share: float, inner: State | None
    ) -> None:
        self._callbacks = callbacks
        self._sequence = sequence
        self._run = run
        self._share = share
        self._inner = inner

    def progress(self, fraction: float, training: Training) -> None:
        shifted = training.model_copy(update={"step": self._run.steps + training.step})
        self._callbacks.progress(self._run.done + fraction * self._share * (1 - self._run.done), shifted)

    def stop_requested(self) -> bool:
        return self._callbacks.stop_requested()

    def checkpoint_due(self) -> bool:
        return self._callbacks.checkpoint_due()

    def save_checkpoint(self, state: State) -> None:
        self._callbacks.save_checkpoint(self._sequence.state(state))

    def load_checkpoint(self) -> State | None:
        return self._inner
