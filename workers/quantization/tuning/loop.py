"""The loop that every tuned method runs in: budget, evaluation, the best kept, checkpoints, restarts, progress."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.jobs import Training
from faceter.contracts.quantizations import CurvePoint, Phase, Tuning
from faceter.graphs.qdq import QuantizationPlan
from workers.jobs import checkpoints
from workers.jobs.checkpoints import State
from workers.quantization.tuning.losses import agreement, output_divergence
from workers.quantization.tuning.network import QuantizedNetwork
from workers.quantization.tuning.plan_states import plan_of, plan_state
from workers.quantization.tuning.session import Session
from workers.training.budget import Budget

_EVALUATIONS = 40
_POINTS = 200
_RESTARTS = 1
_SLOWER = 0.2
_EVALUATED_AT_ONCE = 256

Losses = Mapping[str, Tensor | float]


class Trainer(ABC):
    """A tuned method at work: what it has learned so far, and how it takes one more step.

    Attributes:
        path: Where its inputs come from, for the report.
        session: What it works with.
        student: The quantized network Q as it stands.
        rate: Factor on every learning rate; a restart lowers it.
    """

    path: str

    def __init__(self, session: Session) -> None:
        self.session = session
        self.rate = 1.0
        self.student: QuantizedNetwork

    @property
    @abstractmethod
    def phase(self) -> str:
        """What it is in, in a word."""

    @property
    def ready(self) -> bool:
        """Whether the student is what was asked for, and no stage on the way there."""
        return True

    def turn(self, fraction: float) -> None:  # noqa: B027, where there is one phase nothing is to be done
        """Enter the phase that the next step is part of, if that is another.

        Args:
            fraction: The share of the budget that is spent.
        """

    @abstractmethod
    def step(self, fraction: float) -> Losses:
        """Take one step of the phase it is in.

        Args:
            fraction: The share of the budget that is spent, for schedules; :meth:`turn` was told the same.

        Returns:
            Every loss of the step, by name.
        """

    def conclude(self) -> None:  # noqa: B027, where there are no stages nothing is to be done
        """Bring the student to what was asked for where it is a stage on the way there: no further step is taken."""

    @abstractmethod
    def held_out(self) -> Tensor | None:
        """Return inputs that nothing is tuned on; None as long as there are none."""

    @abstractmethod
    def synthetic(self) -> Tensor | None:
        """Return the inputs that were made, [N, …] as the network takes them; None if none were."""

    @abstractmethod
    def state(self) -> State:
        """Return everything that a later step depends on: tensors, numbers and text in dicts and lists."""

    @abstractmethod
    def restore(self, state: State) -> None:
        """Go on from what :meth:`state` returned."""


class Hooks(Protocol):
    """What the loop needs of the job it is part of."""

    def progress(self, fraction: float, training: Training) -> None:
        """Say how far it is."""

    def stop_requested(self) -> bool:
        """Whether someone wants it to end with what it has."""

    def checkpoint_due(self) -> bool:
        """Whether it is time to keep a checkpoint."""

    def save_checkpoint(self, content: bytes) -> None:
        """Keep a checkpoint."""

    def load_checkpoint(self) -> bytes | None:
        """Return the checkpoint of an earlier attempt."""


class NoHooks:
    """A run that is part of no job."""

    def progress(self, fraction: float, training: Training) -> None:
        """Say nothing."""

    def stop_requested(self) -> bool:
        """Go on."""
        return False

    def checkpoint_due(self) -> bool:
        """Keep none."""
        return False

    def save_checkpoint(self, content: bytes) -> None:
        """Keep none."""

    def load_checkpoint(self) -> bytes | None:
        """There is none."""
        return None


Accuracy = Callable[[QuantizedNetwork], float | None]
"""Measures a network on a part of the evaluation data, for people to see."""


@dataclass(frozen=True)
class Tuned:
    """What a run ended with.

    Args:
        plan: The best quantized network.
        tuning: How it came about.
        curves: How losses and agreement went.
        synthetic: Inputs that were made, [N, …]; None if none were.
        held_out: Inputs that nothing was tuned on.
    """

    plan: QuantizationPlan
    tuning: Tuning
    curves: list[CurvePoint]
    synthetic: Tensor | None
    held_out: Tensor | None


@dataclass
class _Record:
    """What the loop itself keeps from step to step."""

    best: State | None = None
    best_step: int = 0
    agreement: float | None = None
    accuracy: float | None = None
    sums: dict[str, float] = field(default_factory=dict)
    summed: int = 0
    points: list[dict[str, Any]] = field(default_factory=list)
    phases: list[dict[str, Any]] = field(default_factory=list)
    restarts: int = 0
    resumed: int = 0
    evaluated: int = -1
    drawn: int = -1
    fresh: bool = False

    def note(self, losses: Mapping[str, float]) -> None:
        """Add the losses of one step to the sums that the next point is the mean of."""
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.summed += 1

    def means(self) -> dict[str, float]:
        """Return the mean of each loss since the last point."""
        return {name: total / max(self.summed, 1) for name, total in self.sums.items()}


def run(
    trainer: Trainer,
    start: QuantizationPlan,
    budget: Budget,
    hooks: Hooks | None = None,
    accuracy: Accuracy = lambda network: None,
) -> Tuned:
    """Train until the budget is spent or someone wants it to end, and return the best network.

    The best is the one with the least divergence from the float network on held-out inputs, and ``start`` if none has
    less. A loss that is no longer finite begins the phase again, once, at a fifth of the rates.

    Args:
        trainer: The method at work, as it stands before its first step.
        start: The quantized network after rounding alone.
        budget: How long.
        hooks: The job's.
        accuracy: Measured beside agreement for people to see; nothing depends on it.

    Raises:
        FaceterError: ``TUNING_DIVERGED`` if a loss is not finite a second time.
    """
    return _Run(trainer, start, budget, hooks or NoHooks(), accuracy).run()


class _Run:
    def __init__(
        self, trainer: Trainer, start: QuantizationPlan, budget: Budget, hooks: Hooks, accuracy: Accuracy
    ) -> None:
        self.trainer = trainer
        self.session = trainer.session
        self.start = start
        self.budget = budget
        self.hooks = hooks
        self.accuracy = accuracy
        self.record = _Record()
        self.safe = checkpoints.frozen(trainer.state())
        self.answers: tuple[Tensor, list[dict[str, Tensor]]] | None = None
        self.standing: tuple[Tensor, float] | None = None

    def run(self) -> Tuned:
        self._resume()
        ended: Literal["budget", "request"] = "budget"
        while not self.budget.spent:
            if self.hooks.stop_requested():
                ended = "request"
                break
            before, began, fraction = self.trainer.phase, self.budget.seconds, self.budget.fraction
            self.trainer.turn(fraction)
            if self.trainer.phase != before:
                self.safe = checkpoints.frozen(self.trainer.state())
            losses = {name: float(value) for name, value in self.trainer.step(fraction).items()}
            self.budget.count()
            if not all(math.isfinite(value) for value in losses.values()):
                self._restart(losses)
                continue
            self._count(self.trainer.phase, self.budget.seconds - began)
            self.record.note(losses)
            self._look()
            if self.hooks.checkpoint_due():
                self.hooks.save_checkpoint(checkpoints.dump(self._state()))
        return self._finish(ended)

    def _finish(self, ended: Literal["budget", "request"]) -> Tuned:
        if self.budget.taken:
            self.trainer.conclude()
            if self.trainer.ready:
                self._evaluate()
        self._draw()
        plan, kept = self.start, 0
        held_out = self.trainer.held_out()
        found = None
        if self.record.best is not None and held_out is not None:
            best = plan_of(self.record.best)
            measured = [self._measure(self._network(item), held_out) for item in (self.start, best)]
            if measured[1][0] < measured[0][0]:
                plan, kept = best, self.record.best_step
            found = measured[1 if kept else 0][1]
        tuning = Tuning(
            path=self.trainer.path,
            steps=self.budget.taken,
            seconds=round(self.budget.seconds, 3),
            phases=[Phase(**item) for item in self.record.phases],
            ended_by=ended,
            agreement=found,
            kept_step=kept,
            restarts=self.record.restarts,
            resumed=self.record.resumed,
            precision=self.session.precision.name,
        )
        curves = [CurvePoint(**point) for point in self.record.points]
        return Tuned(plan, tuning, curves, self.trainer.synthetic(), held_out)

    def _network(self, plan: QuantizationPlan) -> QuantizedNetwork:
        return self.session.student(plan, learned_steps=False)

    def _look(self) -> None:
        """Evaluate and draw a point whenever another share of the budget is spent; tell how it stands."""
        spent = self.budget.fraction
        evaluation, point = int(spent * _EVALUATIONS), int(spent * _POINTS)
        if evaluation > self.record.evaluated and spent < 1:
            self.record.evaluated = evaluation
            self._evaluate()
        if point > self.record.drawn and spent < 1:
            self.record.drawn = point
            self._draw()
        self.hooks.progress(
            self.budget.fraction,
            Training(
                phase=self.trainer.phase,
                step=self.budget.taken,
                losses=self.record.means() or self._last_losses(),
                agreement=self.record.agreement,
                accuracy=self.record.accuracy,
            ),
        )

    def _last_losses(self) -> dict[str, float]:
        return self.record.points[-1]["losses"] if self.record.points else {}

    def _draw(self) -> None:
        if not self.record.summed and not self.record.fresh:
            return
        self.record.points.append(
            {
                "step": self.budget.taken,
                "seconds": round(self.budget.seconds, 3),
                "phase": self.trainer.phase,
                "losses": self.record.means(),
                "agreement": self.record.agreement if self.record.fresh else None,
                "accuracy": self.record.accuracy if self.record.fresh else None,
            }
        )
        self.record.sums, self.record.summed, self.record.fresh = {}, 0, False

    def _evaluate(self) -> None:
        held_out = self.trainer.held_out()
        if held_out is None:
            return
        divergence, self.record.agreement = self._measure(self.trainer.student, held_out)
        self.record.accuracy = self.accuracy(self.trainer.student)
        self.record.fresh = True
        if not self.trainer.ready or not math.isfinite(divergence):
            return
        if self.record.best is not None and self._standing(self.record.best, held_out) <= divergence:
            return
        self.record.best = plan_state(self.trainer.student.plan())
        self.record.best_step = self.budget.taken
        self.standing = held_out, divergence

    def _standing(self, best: State, held_out: Tensor) -> float:
        """Return the divergence of the best so far on the inputs held out now, which may be others than they were."""
        if self.standing is None or self.standing[0] is not held_out:
            divergence, _ = self._measure(self._network(plan_of(best)), held_out)
            self.standing = held_out, divergence
        return self.standing[1]

    @torch.no_grad()
    def _measure(self, network: QuantizedNetwork, held_out: Tensor) -> tuple[float, float]:
        """Return the divergence of a network from P on held-out inputs, and its agreement."""
        parts = torch.split(held_out, min(_EVALUATED_AT_ONCE, self.session.most))
        if self.answers is None or self.answers[0] is not held_out:
            self.answers = held_out, [self.session.ask_teacher(part) for part in parts]
        found = []
        for part, wanted in zip(parts, self.answers[1], strict=True):
            given = self.session.run(network, part)
            heads = self.session.heads
            found.append((len(part), float(output_divergence(heads, wanted, given)), agreement(heads, wanted, given)))
        total = sum(count for count, _, _ in found)
        return (
            sum(count * divergence for count, divergence, _ in found) / total,
            sum(count * share for count, _, share in found) / total,
        )

    def _count(self, phase: str, seconds: float) -> None:
        phases = self.record.phases
        if not phases or phases[-1]["name"] != phase:
            phases.append({"name": phase, "steps": 0, "seconds": 0.0})
        phases[-1]["steps"] += 1
        phases[-1]["seconds"] = round(phases[-1]["seconds"] + seconds, 3)

    def _restart(self, losses: Mapping[str, float]) -> None:
        wrong = ", ".join(f"{name} is {value}" for name, value in losses.items() if not math.isfinite(value))
        if self.record.restarts >= _RESTARTS:
            raise FaceterError(
                ProblemKind.TUNING_DIVERGED,
                f"Tuning diverged a second time, at a lower rate too ({wrong} after {self.budget.taken} steps). "
                "Try more bits, another seed, or the method auto; the losses up to here are with this problem.",
                curves=self.record.points,
            )
        self.record.restarts += 1
        rate = self.trainer.rate * _SLOWER
        self.trainer.restore(checkpoints.frozen(self.safe))
        self.trainer.rate = rate

    def _state(self) -> State:
        return {
            "trainer": self.trainer.state(),
            "rate": self.trainer.rate,
            "safe": self.safe,
            "budget": self.budget.state(),
            "record": vars(self.record),
        }

    def _resume(self) -> None:
        content = self.hooks.load_checkpoint()
        if content is None:
            return
        state = checkpoints.load(content)
        self.trainer.restore(state["trainer"])
        self.trainer.rate = state["rate"]
        self.safe = state["safe"]
        self.budget.restore(state["budget"])
        self.record = _Record(**state["record"])
        self.record.resumed += 1
