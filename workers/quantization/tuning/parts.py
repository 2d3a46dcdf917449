"""Several runs of the loop, one after another, in one budget and under one checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from faceter.contracts.jobs import Training
from faceter.contracts.quantizations import CurvePoint, Phase
from faceter.graphs.qdq import QuantizationPlan
from workers.jobs import checkpoints
from workers.jobs.checkpoints import State
from workers.quantization.tuning import loop
from workers.quantization.tuning.loop import Accuracy, Hooks, Trainer, Tuned
from workers.training.budget import Budget


@dataclass
class _Part:
    """Where a part begins.

    Args:
        limit: Its share of the budget, in steps or seconds.
        steps: Steps taken before it.
        seconds: Seconds spent before it.
        done: The share of the whole that was done before it.
    """

    limit: float
    steps: int
    seconds: float
    done: float


class Parts:
    """A budget that is spent in parts.

    A checkpoint is kept while a part runs, and holds what its owner wants kept beside the state of that part. After
    an interruption the owner does as before: parts that were finished it knows from ``kept`` and leaves out, and the
    next that it runs goes on where it was.

    Args:
        budget: That of the whole.
        hooks: The job's.

    Attributes:
        kept: What is to survive an interruption: tensors, numbers and text in dicts and lists.
        done: The share of the whole that is done, for progress.
        restarts: How often a part was begun again at a lower rate.
        resumed: How often a part went on from a checkpoint.
        stopped: Whether someone wanted it to end.
    """

    def __init__(self, budget: Budget, hooks: Hooks) -> None:
        self.budget = budget
        self.kept: State = {}
        self.done = 0.0
        self.restarts = 0
        self.resumed = 0
        self.stopped = False
        self._hooks = hooks
        self._finished = 0
        self._parts: list[_Part] = []
        self._phases: list[dict[str, Any]] = []
        self._curves: list[dict[str, Any]] = []
        self._inner: bytes | None = None
        self._restore(hooks.load_checkpoint())

    @property
    def left(self) -> float:
        """Steps or seconds that are left."""
        if self.budget.limit_steps is not None:
            return max(0, self.budget.limit_steps - self.budget.taken)
        return max(0.0, (self.budget.limit_seconds or 0.0) - self.budget.seconds)

    @property
    def curves(self) -> list[CurvePoint]:
        """How losses and agreement went, over all parts."""
        return [CurvePoint(**point) for point in self._curves]

    @property
    def phases(self) -> list[Phase]:
        """What the time went into."""
        return [Phase(**phase) for phase in self._phases]

    @property
    def ended_by(self) -> Literal["budget", "request"]:
        """Why it ended."""
        return "request" if self.stopped else "budget"

    def run(
        self,
        trainer: Trainer,
        start: QuantizationPlan,
        share: float,
        accuracy: Accuracy = lambda network: None,
    ) -> Tuned:
        """Run a trainer for a share of what is left; see :func:`loop.run`.

        Args:
            trainer: At its beginning.
            start: The quantized network after rounding alone.
            share: The share of what is left of the budget.
            accuracy: Measured beside agreement for people to see.

        Returns:
            What it ended with; its ``kept_step`` counts from the beginning of the part.
        """
        if len(self._parts) == self._finished:
            self._parts.append(_Part(share * self.left, self.budget.taken, self.budget.seconds, self.done))
        part = self._parts[self._finished]
        in_steps = self.budget.limit_steps is not None
        budget = Budget(steps=round(part.limit)) if in_steps else Budget(seconds=part.limit)
        inner, self._inner = self._inner, None
        tuned = loop.run(trainer, start, budget, _PartHooks(self._hooks, self, part, share, inner), accuracy)
        self._finished += 1
        self.budget.taken = part.steps + budget.taken
        self.done = part.done + share * (1 - part.done)
        self.restarts += tuned.tuning.restarts
        self.resumed += tuned.tuning.resumed
        self.stopped = self.stopped or tuned.tuning.ended_by == "request"
        self._phases += [phase.model_dump() for phase in tuned.tuning.phases]
        for point in tuned.curves:
            later = {"step": part.steps + point.step, "seconds": round(part.seconds + point.seconds, 3)}
            self._curves.append(point.model_dump() | later)
        return tuned

    def aside(self, phase: str, share: float) -> Callable[[float], None]:
        """Begin work that is not done in steps; returns what is to be told the share of it that is done, 1 in the end.

        Args:
            phase: What is done.
            share: The share of what is left that progress gives it.
        """
        began, done = self.budget.seconds, self.done

        def tell(fraction: float) -> None:
            self.done = done + share * (1 - done) * fraction
            self._hooks.progress(self.done, Training(phase=phase, step=self.budget.taken))
            if fraction >= 1.0:
                self._phases.append({"name": phase, "steps": 0, "seconds": round(self.budget.seconds - began, 3)})

        return tell

    def stop_requested(self) -> bool:
        """Whether someone wants it to end with what it has."""
        self.stopped = self.stopped or self._hooks.stop_requested()
        return self.stopped

    def state(self, inner: bytes) -> State:
        """Return what a checkpoint holds.

        Args:
            inner: The checkpoint of the part that runs.
        """
        return {
            "kept": self.kept,
            "budget": self.budget.state(),
            "restarts": self.restarts,
            "resumed": self.resumed,
            "finished": self._finished,
            "parts": [vars(part) for part in self._parts],
            "phases": self._phases,
            "curves": self._curves,
            "inner": inner,
        }

    def _restore(self, content: bytes | None) -> None:
        if content is None:
            return
        state = checkpoints.load(content)
        self.kept = state["kept"]
        self.budget.restore(state["budget"])
        self.restarts, self.resumed = state["restarts"], state["resumed"]
        self._finished = state["finished"]
        self._parts = [_Part(**part) for part in state["parts"]]
        self._phases, self._curves = state["phases"], state["curves"]
        self._inner = state["inner"]
        self.done = self._parts[-1].done


class _PartHooks:
    """The job as the loop of one part sees it."""

    def __init__(self, hooks: Hooks, parts: Parts, part: _Part, share: float, inner: bytes | None) -> None:
        self._hooks = hooks
        self._parts = parts
        self._part = part
        self._share = share
        self._inner = inner

    def progress(self, fraction: float, training: Training) -> None:
        later = training.model_copy(update={"step": self._part.steps + training.step})
        self._hooks.progress(self._part.done + fraction * self._share * (1 - self._part.done), later)

    def stop_requested(self) -> bool:
        return self._hooks.stop_requested()

    def checkpoint_due(self) -> bool:
        return self._hooks.checkpoint_due()

    def save_checkpoint(self, content: bytes) -> None:
        self._hooks.save_checkpoint(checkpoints.dump(self._parts.state(content)))

    def load_checkpoint(self) -> bytes | None:
        return self._inner
