"""One run of a tuned method's trainer in the training loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from torch import Tensor

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.quantizations import CurvePoint, Phase, Tuning
from faceter.graphs.quantization_plan import QuantizationPlan
from workers.quantization.tuning.hold_out import Accuracy, HoldOut
from workers.quantization.tuning.trainer import TuningTrainer
from workers.training.budget import Budget
from workers.training.callbacks import Callbacks
from workers.training.curves import LossMeans
from workers.training.loop import DivergedError, DivergencePolicy, TrainingLoop

POLICY: Final = DivergencePolicy(back_to="phase", rate_factor=0.2)
"""What tuning does when it diverges."""


@dataclass(frozen=True)
class TuningResult:
    """What a run ended with.

    Args:
        plan: The best quantized network.
        tuning: Record for the report.
        curves: Losses, agreement and accuracy during the run.
        synthetic: Generated inputs, [N, …]; None if none were generated.
        held_out: Inputs that nothing was tuned on.
    """

    plan: QuantizationPlan
    tuning: Tuning
    curves: list[CurvePoint]
    synthetic: Tensor | None
    held_out: Tensor | None


def fit(
    trainer: TuningTrainer,
    start: QuantizationPlan,
    budget: Budget,
    callbacks: Callbacks | None = None,
    accuracy: Accuracy = lambda network: None,
) -> TuningResult:
    """Tune until the budget is used up or the job is to finish early, and return the best network.

    The best is the network of least divergence from the float network on held-out inputs; ``start`` is a candidate.
    When a loss is not finite the phase begins again, once, at a fifth of the learning rates.

    Args:
        trainer: Before its first step.
        start: The quantized network after rounding alone.

    Raises:
        FaceterError: ``TUNING_DIVERGED`` if a loss is not finite a second time.
    """
    hold_out = HoldOut(trainer, accuracy)
    try:
        run = TrainingLoop(trainer, budget, POLICY, callbacks=callbacks, monitor=hold_out).run()
    except DivergedError as error:
        raise FaceterError(
            ProblemKind.TUNING_DIVERGED,
            f"Tuning diverged a second time, at a lower rate too ({error}). Try more bits, another seed or "
            "another method (rq, dfq and aciq only round); the losses up to here are part of this problem.",
            curves=[point.model_dump() for point in curve_points(error.points)],
        ) from error
    if callbacks is not None:
        callbacks.replicas.leave()
    plan, kept_step, agreement = hold_out.best(start)
    return TuningResult(
        plan=plan,
        tuning=Tuning(
            path=trainer.path,
            steps=run.steps,
            seconds=round(run.seconds, 3),
            phases=[Phase(**phase) for phase in run.phases],
            ended_by="request" if run.ended_by == "request" else "budget",
            agreement=agreement,
            kept_step=kept_step,
            restarts=run.restarts,
            resumed=run.resumed,
            precision=trainer.session.precision.name,
        ),
        curves=curve_points(run.points),
        synthetic=trainer.synthetic(),
        held_out=trainer.held_out(),
    )


def curve_points(points: Sequence[LossMeans]) -> list[CurvePoint]:
    """Return points of the curves as the API has them."""
    return [
        CurvePoint(
            step=point.step,
            seconds=point.seconds,
            phase=point.phase,
            losses=dict(point.losses),
            agreement=point.measured.get("agreement"),
            accuracy=point.measured.get("accuracy"),
        )
        for point in points
    ]
