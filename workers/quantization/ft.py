"""FT, fine-tuning on the user's own inputs: what a data-free method is measured against.

The tuning is that of `auto`, on real inputs in place of made ones; labels are not used.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.quantizations import QuantizationRequest
from faceter.graphs.qdq import QuantizationPlan
from workers.jobs.checkpoints import State
from workers.quantization.aciq import AnalyticClipping
from workers.quantization.prepared import Outcome, Prepared
from workers.quantization.tuning.distillation import Distillation, Recipe
from workers.quantization.tuning.loop import Losses, Trainer
from workers.quantization.tuning.pool import Pool
from workers.quantization.tuning.session import Session


@dataclass(frozen=True)
class FineTuning:
    """Settings of FT.

    Args:
        batch: Inputs per step.
        mixed: The share of each batch that is a mix of two inputs.
        pasted: The share that gets a part of another input.
        recipe: Settings of tuning.
    """

    batch: int = 128
    mixed: float = 0.5
    pasted: float = 0.25
    recipe: Recipe = field(default_factory=Recipe)

    equalizes: ClassVar[bool] = True

    def check(self, prepared: Prepared) -> None:
        """See that there are inputs to tune on."""
        if not prepared.calibrated:
            raise FaceterError(
                ProblemKind.INVALID_REQUEST,
                "ft tunes on your own inputs: give a calibration_dataset_id, or use auto, which needs none.",
                field="calibration_dataset_id",
            )

    def start(self, prepared: Prepared, request: QuantizationRequest) -> Outcome:
        """Return the network after rounding by ACIQ, with the same bits for all channels."""
        return AnalyticClipping(allocate=False)(prepared, request)

    def trainer(self, session: Session, start: QuantizationPlan) -> Trainer:
        """Return the method at work."""
        return _FineTuning(self, session, start)


class _FineTuning(Trainer):
    def __init__(self, settings: FineTuning, session: Session, start: QuantizationPlan) -> None:
        super().__init__(session)
        self.path = "the calibration data"
        inputs = session.prepared.tuning_inputs()
        batch = session.affordable(settings.batch)
        self._pool = Pool(session, torch.from_numpy(inputs), batch, settings.mixed, pasted=settings.pasted)
        self._distillation = Distillation(session, start, settings.recipe)
        self.student = self._distillation.student

    @property
    def phase(self) -> str:
        return self._distillation.stage.name

    @property
    def ready(self) -> bool:
        return self._distillation.ready

    def turn(self, fraction: float) -> None:
        self._distillation.turn(fraction, self._pool.sample)
        self.student = self._distillation.student

    def step(self, fraction: float) -> Losses:
        return self._distillation.step(self._pool.draw(), fraction, self.rate)

    def conclude(self) -> None:
        self._distillation.conclude(self._pool.sample)
        self.student = self._distillation.student

    def held_out(self) -> Tensor | None:
        return self._pool.held_out

    def synthetic(self) -> Tensor | None:
        return None

    def state(self) -> State:
        return {"distillation": self._distillation.state(), "random": self._pool.random.get_state()}

    def restore(self, state: State) -> None:
        self._distillation.restore(state["distillation"])
        self._pool.random.set_state(state["random"])
        self.student = self._distillation.student
