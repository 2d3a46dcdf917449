"""Candidates of a mixed-precision search: points of the Pareto frontier, rounded or tuned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from faceter.graphs.quantization_plan import QuantizationPlan
from workers.jobs.checkpoints import State
from workers.quantization.mixed.bit_allocation import with_weight_bits
from workers.quantization.mixed.pareto import ParetoFrontier
from workers.quantization.tuning.fit import TuningResult
from workers.quantization.tuning.hold_out import Accuracy
from workers.quantization.tuning.run_sequence import RunSequence
from workers.quantization.tuning.session import TuningSession
from workers.quantization.tuning.trainer import TuningTrainer

TrainerFactory = Callable[[TuningSession, QuantizationPlan], TuningTrainer]


@dataclass(frozen=True, eq=False)
class CandidateNetwork:
    """The network of a point of the frontier.

    Args:
        index: Index of the point in the frontier.
        accuracy: Measured accuracy or agreement; None if not measured.
        step: The step of the best checkpoint; 0 if only rounded.
        agreement: Agreement with the float network on the method's held-out inputs after tuning.
        state: Weights and scales of the student; None if only rounded.
    """

    index: int
    accuracy: float | None = None
    step: int = 0
    agreement: float | None = None
    state: State | None = None


class CandidateTuner:
    """Rounds and tunes candidates.

    Args:
        trainer: Returns the trainer before its first step; None if nothing can be tuned.
        session: Has the float network.
        base: Plan whose weights get other bits.
        frontier: The points.
        runs: The budget.
        accuracy: Accuracy on a part of the evaluation data, shown only.

    Attributes:
        last: Result of the last tuning.
    """

    def __init__(
        self,
        trainer: TrainerFactory | None,
        session: TuningSession,
        base: QuantizationPlan,
        frontier: ParetoFrontier,
        runs: RunSequence,
        accuracy: Accuracy,
    ) -> None:
        self.frontier = frontier
        self.runs = runs
        self.last: TuningResult | None = None
        self._trainer = trainer
        self._session = session
        self._base = base
        self._accuracy = accuracy

    @property
    def can_tune(self) -> bool:
        """Whether there is a trainer."""
        return self._trainer is not None

    def plan(self, candidate: CandidateNetwork) -> QuantizationPlan:
        """Return the plan of a candidate."""
        rounded = with_weight_bits(self._base, self.frontier[candidate.index].bits)
        if candidate.state is None:
            return rounded
        student = self._session.student(rounded, learned_steps=False)
        student.load_state_dict(candidate.state)
        return student.plan()

    def tune(self, index: int, fraction: float, before: CandidateNetwork | None) -> CandidateNetwork:
        """Tune a point of the frontier.

        Args:
            fraction: Fraction of the remaining budget.
            before: Candidate whose weights to start from; the float network if not given.
        """
        assert self._trainer is not None
        start = self.plan(CandidateNetwork(index))
        if before is not None:
            start = with_weight_bits(replace(self._base, model=self.plan(before).model), self.frontier[index].bits)
        began = self.runs.budget.taken
        self.last = tuned = self.runs.run(self._trainer(self._session, start), start, fraction, self._accuracy)
        kept = tuned.tuning.kept_step
        step = began + kept if kept else before.step if before is not None else 0
        state = self._session.student(tuned.plan, learned_steps=False).state_dict()
        weights = {name: value.cpu() for name, value in state.items()}
        return CandidateNetwork(index, None, step, tuned.tuning.agreement, weights)
