"""Faceter's own method: synthesized inputs, then distillation with learned step sizes along a bit-width schedule.

Synthesis adapts to the network. With BatchNorm statistics the inputs are fitted to them; classifiers without get inputs
for random classes; other networks get procedural images, or noise if inputs are no images. A network without a float
input is not tuned but rounded by ACIQ.

References:
    Cai et al., "ZeroQ", CVPR 2020, arXiv 2001.00281 (inputs from BatchNorm statistics).
    Esser et al., "Learned Step Size Quantization", ICLR 2020, arXiv 1902.08153.
    Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015, arXiv 1503.02531.
    Baradad et al., "Learning to See by Looking at Noise", NeurIPS 2021, arXiv 2106.05963 (procedural images).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

from torch import Tensor

from faceter.contracts.quantizations import QuantizationRequest
from faceter.graphs.quantization_plan import QuantizationPlan
from workers.jobs.checkpoints import State
from workers.quantization.aciq import ACIQ
from workers.quantization.method import MethodResult
from workers.quantization.prepare import PreparedNetwork
from workers.quantization.tuning.inputs.pool import InputPool
from workers.quantization.tuning.inputs.session_inputs import input_space_of
from workers.quantization.tuning.inputs.space import require_input_space
from workers.quantization.tuning.inputs.synthesis import InputSynthesis, SynthesisSettings
from workers.quantization.tuning.session import TuningSession
from workers.quantization.tuning.student.distillation import Distillation, DistillationSettings
from workers.quantization.tuning.trainer import TuningTrainer
from workers.training.trainer import Losses


@dataclass(frozen=True)
class Automatic:
    """Settings of `auto`.

    Args:
        synthesis_share: Largest fraction of the budget for synthesis.
        batch: Batch size of tuning for a small network, see :meth:`TuningSession.scaled_batch`.
        mixup: Fraction of each batch that is mixed, see :func:`augment`.
        cutmix: Fraction of each batch that gets a box of another input.
        synthesis: Settings of synthesis.
        distillation: Settings of the tuning.
    """

    synthesis_share: float = 0.35
    batch: int = 128
    mixup: float = 0.5
    cutmix: float = 0.25
    synthesis: SynthesisSettings = field(default_factory=SynthesisSettings)
    distillation: DistillationSettings = field(default_factory=DistillationSettings)

    equalizes: ClassVar[bool] = True

    def check(self, prepared: PreparedNetwork) -> None:
        """Check that inputs can be made.

        Raises:
            FaceterError: ``METHOD_NOT_APPLICABLE``, naming methods that apply.
        """
        require_input_space(prepared.model, prepared.inputs, prepared.preprocessing, continuous=False)

    def start(self, prepared: PreparedNetwork, request: QuantizationRequest) -> MethodResult:
        """Return the network rounded by ACIQ, without bit allocation."""
        return ACIQ(allocate=False)(prepared, request)

    def trainer(self, session: TuningSession, start: QuantizationPlan) -> TuningTrainer:
        """Return the trainer, before its first step."""
        return _AutoTrainer(self, session, start)

    def trainer_on(self, session: TuningSession, start: QuantizationPlan, inputs: Tensor) -> TuningTrainer:
        """Return a trainer that tunes on given inputs, [N, …], without synthesis."""
        return _AutoTrainer(replace(self, synthesis_share=0.0), session, start, inputs)


class _AutoTrainer(TuningTrainer):
    def __init__(
        self, settings: Automatic, session: TuningSession, start: QuantizationPlan, inputs: Tensor | None = None
    ) -> None:
        super().__init__(session)
        space = input_space_of(session)
        self._settings = settings
        self._synthesis = InputSynthesis(session, space, settings.synthesis)
        self._distillation = Distillation(session, start, settings.distillation)
        self._inputs = inputs
        self._tuning_start: float | None = None
        self._pool: InputPool | None = None if inputs is None else self._new_pool()
        self.student = self._distillation.student
        self.path = self._synthesis.path

    @property
    def phase(self) -> str:
        return "synthesis" if self._pool is None else self._distillation.stage.name

    @property
    def ready(self) -> bool:
        return self._pool is not None and self._distillation.ready

    def enter_phase(self, fraction: float) -> None:
        if self._tuning_start is None:
            if fraction < self._settings.synthesis_share and not self._synthesis.is_full:
                return
            self._tuning_start = min(fraction, self._settings.synthesis_share)
        if self._pool is None:
            self._pool = self._new_pool()
        self._distillation.enter_stage(self._tuning_progress(fraction), self._pool.sample)
        self.student = self._distillation.student

    def step(self, fraction: float) -> Losses:
        if self._pool is None:
            return self._synthesis.step(self.rate)
        return self._distillation.step(self._pool.draw(), self._tuning_progress(fraction), self.rate)

    def _tuning_progress(self, fraction: float) -> float:
        """Return the fraction of the tuning that is done."""
        assert self._tuning_start is not None
        return (fraction - self._tuning_start) / (1 - self._tuning_start)

    def finalize(self) -> None:
        if self._pool is not None:
            self._distillation.finalize(self._pool.sample)
            self.student = self._distillation.student

    def held_out(self) -> Tensor | None:
        return None if self._pool is None else self._pool.held_out

    def synthetic(self) -> Tensor | None:
        return self._synthesis.all_inputs() if self._inputs is None else self._inputs

    def state(self) -> State:
        return {
            "synthesis": self._synthesis.state(),
            "distillation": self._distillation.state(),
            "tuning_start": self._tuning_start,
            "pool_random": None if self._pool is None else self._pool.random.get_state(),
        }

    def restore(self, state: State) -> None:
        self._synthesis.restore(state["synthesis"])
        self._distillation.restore(state["distillation"])
        self._tuning_start = state["tuning_start"]
        self._pool = None
        if state["pool_random"] is not None:
            self._pool = self._new_pool()
            self._pool.random.set_state(state["pool_random"])
        self.student = self._distillation.student

    def _new_pool(self) -> InputPool:
        inputs = self._synthesis.all_inputs() if self._inputs is None else self._inputs
        return InputPool(
            self.session,
            inputs,
            self.session.scaled_batch(self._settings.batch),
            self._settings.mixup,
            cutmix=self._settings.cutmix,
            mix_held_out=True,
        )
