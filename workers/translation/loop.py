"""The loop of a training: budget, progress, curves, checkpoints, and what is done when a loss is no longer finite."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.translators import LossPoint
from workers.jobs.checkpoints import State, frozen
from workers.training.budget import Budget
from workers.translation.curves import Curves
from workers.translation.trainer import Trainer

_log = logging.getLogger("faceter.worker")

EndedBy = Literal["budget", "request", "diverged"]
"""Why a training ended."""

_OF_LATE = 100
_RESTARTS = 1
_SLOWER = 0.5


@dataclass(frozen=True)
class Progress:
    """How a training stands.

    Args:
        step: Steps taken.
        epochs: How often the images were gone through.
        fraction: The share of the budget that is spent, 0 to 1.
        losses: Mean of each loss over the last 100 steps.
        steps_per_second: Speed over these; None at the first step.
        seconds_left: Seconds until the budget is spent; None at the first step.
    """

    step: int
    epochs: float
    fraction: float
    losses: Mapping[str, float]
    steps_per_second: float | None
    seconds_left: float | None


@dataclass(frozen=True)
class Trained:
    """What a training ended with.

    Args:
        trainer: The method as it stands at the end.
        curves: How losses went, 500 points at most.
        losses: Mean of each loss over the last 100 steps.
        ended_by: Why it ended.
        steps: Steps taken.
        epochs: How often the images were gone through.
        seconds: Seconds of training, those before an interruption included.
        restarts: How often it went back to the last good state.
    """

    trainer: Trainer
    curves: list[LossPoint]
    losses: dict[str, float]
    ended_by: EndedBy
    steps: int
    epochs: float
    seconds: float
    restarts: int


class Training:
    """A training until its budget is spent or someone wants it to end.

    A state is good if all its weights are finite; that of the last checkpoint is kept in memory too. When a loss is no
    longer finite, training goes back to it, or to the beginning if there is none yet, and goes on with half the
    learning rate. When that happens once more, it ends with the last good state.

    With a budget in steps, and without such an event, what is learned depends on nothing but the trainer: a training
    that goes on from a checkpoint ends as one that was not interrupted, bit for bit on the same machine.

    Args:
        trainer: The method at work, before its first step.
        budget: How long; in steps (see :meth:`Batches.steps` for epochs) or in seconds.
        every: Seconds between checkpoints.
        progress: Is told after every step how it stands.
        checkpoint: Is given the state every so often; it has to write it before it returns, since later steps change
            its tensors. :meth:`restore` takes it.
        stop_requested: Says whether someone wants it to end with what it has; asked before every step.
        clock: Seconds that only go up.
    """

    def __init__(
        self,
        trainer: Trainer,
        budget: Budget,
        *,
        every: float = 60.0,
        progress: Callable[[Progress], None] = lambda _: None,
        checkpoint: Callable[[State], None] = lambda _: None,
        stop_requested: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.trainer = trainer
        self.budget = budget
        self.curves = Curves()
        self._every = every
        self._progress = progress
        self._checkpoint = checkpoint
        self._stop_requested = stop_requested
        self._clock = clock
        self._recent: deque[tuple[float, Mapping[str, float]]] = deque(maxlen=_OF_LATE + 1)
        self._saved = clock()
        self._restarts = 0
        self._good = frozen(trainer.state())
        self._good_step = 0

    def run(self) -> Trained:
        """Train, and return what came of it.

        Raises:
            FaceterError: ``TRAINING_DIVERGED`` if losses were not finite twice before there was a good state.
        """
        self._saved = self._clock()
        ended: EndedBy | None = None
        while ended is None:
            ended = self._turn()
        curves = self.curves.points()
        return Trained(
            trainer=self.trainer,
            curves=curves,
            losses=self._means() or (curves[-1].losses if curves else {}),
            ended_by=ended,
            steps=self.budget.taken,
            epochs=self.trainer.data.epochs,
            seconds=self.budget.seconds,
            restarts=self._restarts,
        )

    def state(self) -> State:
        """Return everything that a later step depends on, the curves included; not copied."""
        return {
            "trainer": self.trainer.state(),
            "budget": self.budget.state(),
            "curves": self.curves.state(),
            "restarts": self._restarts,
        }

    def restore(self, state: State) -> None:
        """Go on from what :meth:`state` returned."""
        self.trainer.restore(state["trainer"])
        self.budget.restore(state["budget"])
        self.curves.restore(state["curves"])
        self._restarts = state["restarts"]
        self._good, self._good_step = frozen(state["trainer"]), self.budget.taken

    def _turn(self) -> EndedBy | None:
        """Take a step, or say why there is none to take."""
        over: EndedBy | None = "budget" if self.budget.spent else "request" if self._stop_requested() else None
        if over is not None:
            return over if self._is_sound() else self._end("the weights after the last step are not finite")
        losses = self.trainer.step(self.budget.fraction)
        values = torch.stack(list(losses.values())).tolist()
        found = dict(zip(losses, values, strict=True))
        self.budget.count()
        wrong = [f"{name} is {value}" for name, value in found.items() if not math.isfinite(value)]
        if wrong:
            return self._go_back(", ".join(wrong))
        self._note(found)
        if self._clock() - self._saved >= self._every:
            if not self._is_sound():
                return self._go_back("weights are not finite")
            self._keep()
        return None

    def _note(self, losses: Mapping[str, float]) -> None:
        self.curves.add(self.budget.taken, self.budget.seconds, losses)
        self._recent.append((self._clock(), losses))
        passed = self._recent[-1][0] - self._recent[0][0]
        speed = (len(self._recent) - 1) / passed if passed > 0 else None
        self._progress(
            Progress(
                step=self.budget.taken,
                epochs=self.trainer.data.epochs,
                fraction=self.budget.fraction,
                losses=self._means(),
                steps_per_second=speed,
                seconds_left=self._seconds_left(speed),
            )
        )

    def _means(self) -> dict[str, float]:
        recent = [losses for _, losses in self._recent]
        return {name: sum(losses[name] for losses in recent) / len(recent) for name in (recent[0] if recent else {})}

    def _seconds_left(self, speed: float | None) -> float | None:
        if self.budget.limit_seconds is not None:
            return max(0.0, self.budget.limit_seconds - self.budget.seconds)
        assert self.budget.limit_steps is not None
        return None if speed is None else (self.budget.limit_steps - self.budget.taken) / speed

    def _keep(self) -> None:
        self._good, self._good_step = frozen(self.trainer.state()), self.budget.taken
        self._checkpoint(self.state())
        self._saved = self._clock()

    def _is_sound(self) -> bool:
        """Return whether all weights are finite: losses tell of those only a step later."""
        networks = self.trainer.networks.values()
        return all(bool(values.isfinite().all()) for network in networks for values in network.parameters())

    def _go_back(self, wrong: str) -> EndedBy | None:
        """Go on from the last good state at half the rate, or end with it if that was done before."""
        if self._restarts >= _RESTARTS:
            return self._end(wrong)
        self._restarts += 1
        rate = self.trainer.rate * _SLOWER
        self._return_to_good()
        self.trainer.rate = rate
        _log.warning("training went back to step %d at half the learning rate: %s", self._good_step, wrong)
        return None

    def _end(self, wrong: str) -> EndedBy:
        """End with the last good state."""
        if not self._good_step:
            raise FaceterError(
                ProblemKind.TRAINING_DIVERGED,
                f"Training diverged before there was anything to keep ({wrong}). Try a lower learning_rate, or see "
                "that the images are not all alike.",
                curves=[point.model_dump() for point in self.curves.points()],
            )
        self._return_to_good()
        return "diverged"

    def _return_to_good(self) -> None:
        self.trainer.restore(self._good)
        self.budget.taken = self._good_step
        self.curves.drop_after(self._good_step)
        self._recent.clear()
