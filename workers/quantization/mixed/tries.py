"""Tuning points of the frontier, and keeping what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from faceter.graphs.qdq import QuantizationPlan
from workers.jobs.checkpoints import State
from workers.quantization.mixed.assignment import with_weight_bits
from workers.quantization.mixed.pareto import Frontier
from workers.quantization.tuning.loop import Accuracy, Trainer, Tuned
from workers.quantization.tuning.parts import Parts
from workers.quantization.tuning.session import Session

MakesTrainer = Callable[[Session, QuantizationPlan], Trainer]


@dataclass(frozen=True, eq=False)
class Network:
    """A point of the frontier, rounded or tuned.

    Args:
        index: Which.
        grade: How good it is; None where it was not measured.
        step: The step that it was kept at; 0 after rounding alone.
        agreement: Its agreement with the float network while it was tuned.
        state: Its weights and steps; None after rounding alone.
    """

    index: int
    grade: float | None = None
    step: int = 0
    agreement: float | None = None
    state: State | None = None


class Tuner:
    """Makes networks of points.

    Args:
        trainer: Makes the method that tunes, as it stands before its first step; None if nothing is to be tuned.
        session: Has the float network.
        base: Its quantizers; weights get others.
        frontier: The points.
        parts: The budget.
        accuracy: Measures accuracy on a part of the evaluation data, to be shown.

    Attributes:
        frontier: The points.
        parts: The budget.
        last: What the last run of the method ended with.
    """

    def __init__(
        self,
        trainer: MakesTrainer | None,
        session: Session,
        base: QuantizationPlan,
        frontier: Frontier,
        parts: Parts,
        accuracy: Accuracy,
    ) -> None:
        self.frontier = frontier
        self.parts = parts
        self.last: Tuned | None = None
        self._trainer = trainer
        self._session = session
        self._base = base
        self._accuracy = accuracy

    @property
    def tunes(self) -> bool:
        """Whether there is a method to tune by."""
        return self._trainer is not None

    def plan(self, network: Network) -> QuantizationPlan:
        """Return the plan of a network."""
        rounded = with_weight_bits(self._base, self.frontier[network.index].bits)
        if network.state is None:
            return rounded
        student = self._session.student(rounded, learned_steps=False)
        student.load_state_dict(network.state)
        return student.plan()

    def tune(self, index: int, share: float, before: Network | None) -> Network:
        """Tune a point.

        Args:
            index: Which.
            share: The share of what is left of the budget.
            before: The network whose weights to begin with; the float network if not given.
        """
        assert self._trainer is not None
        start = self.plan(Network(index))
        if before is not None:
            start = with_weight_bits(replace(self._base, model=self.plan(before).model), self.frontier[index].bits)
        began = self.parts.budget.taken
        self.last = tuned = self.parts.run(self._trainer(self._session, start), start, share, self._accuracy)
        kept = tuned.tuning.kept_step
        step = began + kept if kept else before.step if before is not None else 0
        state = self._session.student(tuned.plan, learned_steps=False).state_dict()
        return Network(index, None, step, tuned.tuning.agreement, {name: value.cpu() for name, value in state.items()})
