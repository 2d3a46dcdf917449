"""Carrying out a tuned method: its budget, its precision, its kernels, and the run itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from faceter.contracts.quantizations import CurvePoint, QuantizationRequest, Tuning
from workers.host import compute_device
from workers.quantization.mixed.choice import Reached
from workers.quantization.observation import as_array
from workers.quantization.prepared import Outcome, Prepared
from workers.quantization.tuning import loop
from workers.quantization.tuning.kernels import compiled
from workers.quantization.tuning.loop import Accuracy, Hooks
from workers.quantization.tuning.method import TunedMethod
from workers.quantization.tuning.session import Session
from workers.training.budget import Budget

_MINUTES = {8: 1.0, 7: 1.0, 6: 1.0, 5: 3.0, 4: 6.0, 3: 12.0, 2: 20.0}
_MINUTES_FOR_TARGET = 10.0
_SECONDS_WORTH_COMPILING = 120.0
_STEPS_WORTH_COMPILING = 1000

AccuracyOf = Callable[[Session], Accuracy]


@dataclass(frozen=True)
class TunedOutcome:
    """What a tuned method made.

    Args:
        outcome: The plan, and what a reader of the report should know.
        tuning: How it came about; None where nothing was tuned.
        curves: How losses and agreement went.
        synthetic: Inputs that were made, float32 [N, …]; None if none were.
        labels: The float network's class for each of them, [N]; None where it does not classify.
        held_out: Inputs nothing was tuned on, float32 [N, …]; None if there are none.
        reached: Where a run with a target has ended.
    """

    outcome: Outcome
    tuning: Tuning | None = None
    curves: tuple[CurvePoint, ...] = ()
    synthetic: NDArray[np.float32] | None = None
    labels: NDArray[np.int64] | None = None
    held_out: NDArray[np.float32] | None = None
    reached: Reached | None = None

    def noted(self, notes: list[str]) -> TunedOutcome:
        """Return the same with notes before those there are."""
        return replace(self, outcome=replace(self.outcome, notes=[*notes, *self.outcome.notes]))


def budget_of(request: QuantizationRequest) -> Budget:
    """Return the budget asked for, or one that goes with the bits."""
    if request.max_steps is not None:
        return Budget(steps=request.max_steps)
    return Budget(seconds=60 * (request.max_minutes or default_minutes(request)))


def default_minutes(request: QuantizationRequest) -> float:
    """Return how long to tune where nobody says: the longer, the fewer bits."""
    if request.target is not None:
        return _MINUTES_FOR_TARGET
    return _MINUTES[min(request.weight_bits, request.activation_bits)]


def tune(
    method: TunedMethod,
    prepared: Prepared,
    request: QuantizationRequest,
    hooks: Hooks,
    accuracy: AccuracyOf,
    budget: Budget | None = None,
    start: Outcome | None = None,
) -> TunedOutcome:
    """Round the network and tune it until its budget is spent.

    Args:
        method: Which.
        prepared: The network.
        request: Bits, seed and, where ``budget`` is not given, minutes or steps.
        hooks: The job's.
        accuracy: Makes the function that measures accuracy on a part of the evaluation data, to be shown.
        budget: How long.
        start: The network after rounding; the method's own if not given.

    Raises:
        FaceterError: ``METHOD_NOT_APPLICABLE``, ``OUT_OF_MEMORY``, ``TUNING_DIVERGED``.
    """
    method.check(prepared)
    budget = budget or budget_of(request)
    start = start or method.start(prepared, request)
    device = compute_device()
    with compiled(worth_compiling(budget), device) as is_compiled:
        session = Session(prepared, request, device)
        trainer = method.trainer(session, start.plan)
        tuned = loop.run(trainer, start.plan, budget, hooks, accuracy(session))
    return TunedOutcome(
        outcome=Outcome(tuned.plan, [*start.notes, *_notes(tuned.tuning)]),
        tuning=tuned.tuning.model_copy(update={"compiled": is_compiled}),
        curves=tuple(tuned.curves),
        synthetic=None if tuned.synthetic is None else as_array(tuned.synthetic),
        labels=None if tuned.synthetic is None else teacher_labels(session, tuned.synthetic),
        held_out=None if tuned.held_out is None else as_array(tuned.held_out),
    )


def untuned(outcome: Outcome, reason: str) -> TunedOutcome:
    """Return an outcome that nothing was tuned in, saying why."""
    return TunedOutcome(replace(outcome, notes=[*outcome.notes, reason]))


def worth_compiling(budget: Budget) -> bool:
    """Whether a run is long enough to be worth the seconds that compiling takes."""
    return (budget.limit_steps or 0) >= _STEPS_WORTH_COMPILING or (
        budget.limit_seconds or 0
    ) >= _SECONDS_WORTH_COMPILING


def teacher_labels(session: Session, inputs: torch.Tensor) -> NDArray[np.int64] | None:
    """Return the float network's class for each input, [N]; None where it does not classify."""
    logits = session.heads.logits
    if logits is None:
        return None
    found = [session.ask_teacher(session.arranged(part))[logits] for part in torch.split(inputs, session.most)]
    scores = torch.cat(found)
    return scores.argmax(-1).cpu().numpy() if scores.ndim == 2 else None


def _notes(tuning: Tuning) -> list[str]:
    if tuning.kept_step == 0:
        return ["Tuning found nothing better than rounding alone on held-out inputs; the rounded network was kept."]
    return []
