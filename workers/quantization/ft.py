"""FT, fine-tuning on the user's calibration data: the upper reference for data-free methods.

The tuning is that of `auto`, on real instead of synthesized inputs; labels are not used.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.quantizations import QuantizationRequest
from faceter.graphs.quantization_plan import QuantizationPlan
from workers.jobs.checkpoints import State
from workers.quantization.aciq import ACIQ
from workers.quantization.method import MethodResult
from workers.quantization.prepare import PreparedNetwork
from workers.quantization.tuning.inputs.pool import InputPool
from workers.quantization.tuning.session import TuningSession
from workers.quantization.tuning.student.distillation import Distillation, DistillationSettings
from workers.quantization.tuning.trainer import TuningTrainer
from workers.training.trainer import Losses


@dataclass(frozen=True)
class FineTuning:
    """Settings of FT.

    Args:
        batch: Batch size for a small network, see :meth:`TuningSession.scaled_batch`.
        mixup: Fraction of each batch that is mixed, see :func:`augment`.
        cutmix: Fraction of each batch that gets a box of another input.
        distillation: Settings of the tuning.
    """

    batch: int = 128
    mixup: float = 0.5
    cutmix: float = 0.25
    distillation: DistillationSettings = field(default_factory=DistillationSettings)

    equalizes: ClassVar[bool] = True

    def check(self, prepared: PreparedNetwork) -> None:
        """Check that there are calibration data to tune on.

        Raises:
            FaceterError: ``INVALID_REQUEST``.
        """
        if not prepared.calibrated:
            raise FaceterError(
                ProblemKind.INVALID_REQUEST,
                "ft tunes on your own inputs: give a calibration_dataset_id, or use auto, which needs none.",
                field="calibration_dataset_id",
            )

    def start(self, prepared: PreparedNetwork, request: QuantizationRequest) -> MethodResult:
        """Return the network rounded by ACIQ, without bit allocation."""
        return ACIQ(allocate=False)(prepared, request)

    def trainer(self, session: TuningSession, start: QuantizationPlan) -> TuningTrainer:
        """Return the trainer, before its first step."""
        return _FineTuningTrainer(self, session, start)


class _FineTuningTrainer(TuningTrainer):
    def __init__(self, settings: FineTuning, session: TuningSession, start: QuantizationPlan) -> None:
        super().__init__(session)
        self.path = "the calibration data"
        inputs = session.prepared.tuning_inputs()
        batch = session.scaled_batch(settings.batch)
        self._pool = InputPool(session, torch.from_numpy(inputs), batch, settings.mixup, cutmix=settings.cutmix)
        self._distillation = Distillation(session, start, settings.distillation)
        self.student = self._distillation.student

    @property
    def phase(self) -> str:
        return self._distillation.stage.name

    @property
    def ready(self) -> bool:
        return self._distillation.ready

    def enter_phase(self, fraction: float) -> None:
        self._distillation.enter_stage(fraction, self._pool.sample)
        self.student = self._distillation.student

    def step(self, fraction: float) -> Losses:
        return self._distillation.step(self._pool.draw(), fraction, self.rate)

    def finalize(self) -> None:
        self._distillation.finalize(self._pool.sample)
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
