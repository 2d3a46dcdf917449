"""Faceter's own method: inputs made from the network, then distillation with learned steps, down in bits by stages.

It chooses by itself. With BatchNorm statistics the inputs are fitted to them; without, they are made for the classes
of a network that classifies; for others procedural images serve as they are, and inputs that are no images are
sought where the rounded network answers otherwise. Where inputs are no float numbers nothing is tuned, and the network
is rounded by ACIQ.

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
from faceter.graphs.qdq import QuantizationPlan
from workers.jobs.checkpoints import State
from workers.quantization.aciq import AnalyticClipping
from workers.quantization.prepared import Outcome, Prepared
from workers.quantization.tuning.batches import space_of
from workers.quantization.tuning.distillation import Distillation, Recipe
from workers.quantization.tuning.inputs import require_input_space
from workers.quantization.tuning.loop import Losses, Trainer
from workers.quantization.tuning.pool import Pool
from workers.quantization.tuning.session import Session
from workers.quantization.tuning.synthesis import Objective, Synthesis


@dataclass(frozen=True)
class Automatic:
    """Settings of `auto`.

    Args:
        synthesis_share: The share of the budget spent on making inputs, at most.
        batch: Inputs per step of tuning.
        mixed: The share of each batch that is a mix of two inputs.
        pasted: The share that gets a part of another input.
        objective: Settings of making inputs.
        recipe: Settings of tuning.
    """

    synthesis_share: float = 0.35
    batch: int = 128
    mixed: float = 0.5
    pasted: float = 0.25
    objective: Objective = field(default_factory=Objective)
    recipe: Recipe = field(default_factory=Recipe)

    equalizes: ClassVar[bool] = True

    def check(self, prepared: Prepared) -> None:
        """See that inputs can be made."""
        require_input_space(prepared.model, prepared.inputs, prepared.preprocessing)

    def start(self, prepared: Prepared, request: QuantizationRequest) -> Outcome:
        """Return the network after rounding by ACIQ, with the same bits for all channels."""
        return AnalyticClipping(allocate=False)(prepared, request)

    def trainer(self, session: Session, start: QuantizationPlan) -> Trainer:
        """Return the method at work."""
        return _Automatic(self, session, start)

    def trainer_on(self, session: Session, start: QuantizationPlan, made: Tensor) -> Trainer:
        """Return the method at work on inputs that it made before, [N, …], and so without making any."""
        return _Automatic(replace(self, synthesis_share=0.0), session, start, made)


class _Automatic(Trainer):
    def __init__(
        self, settings: Automatic, session: Session, start: QuantizationPlan, made: Tensor | None = None
    ) -> None:
        super().__init__(session)
        space = space_of(session)
        self._settings = settings
        adversary = session.student(start, learned_steps=False)
        self._synthesis = Synthesis(session, space, adversary.requires_grad_(False), settings.objective)
        self._distillation = Distillation(session, start, settings.recipe)
        self._made = made
        self._began: float | None = None
        self._pool: Pool | None = None if made is None else self._gathered()
        self.student = self._distillation.student
        self.path = self._synthesis.path

    @property
    def phase(self) -> str:
        return "synthesis" if self._pool is None else self._distillation.stage.name

    @property
    def ready(self) -> bool:
        return self._pool is not None and self._distillation.ready

    def turn(self, fraction: float) -> None:
        if self._began is None:
            if fraction < self._settings.synthesis_share and not self._synthesis.enough:
                return
            self._began = min(fraction, self._settings.synthesis_share)
        if self._pool is None:
            self._pool = self._gathered()
        self._distillation.turn(self._done(fraction), self._pool.sample)
        self.student = self._distillation.student

    def step(self, fraction: float) -> Losses:
        if self._pool is None:
            return self._synthesis.step(self.rate)
        return self._distillation.step(self._pool.draw(), self._done(fraction), self.rate)

    def _done(self, fraction: float) -> float:
        """Return the share of the tuning that is done."""
        assert self._began is not None
        return (fraction - self._began) / (1 - self._began)

    def conclude(self) -> None:
        if self._pool is not None:
            self._distillation.conclude(self._pool.sample)
            self.student = self._distillation.student

    def held_out(self) -> Tensor | None:
        return None if self._pool is None else self._pool.held_out

    def synthetic(self) -> Tensor | None:
        return self._synthesis.pool() if self._made is None else self._made

    def state(self) -> State:
        return {
            "synthesis": self._synthesis.state(),
            "distillation": self._distillation.state(),
            "began": self._began,
            "drawn": None if self._pool is None else self._pool.random.get_state(),
        }

    def restore(self, state: State) -> None:
        self._synthesis.restore(state["synthesis"])
        self._distillation.restore(state["distillation"])
        self._began = state["began"]
        self._pool = None
        if state["drawn"] is not None:
            self._pool = self._gathered()
            self._pool.random.set_state(state["drawn"])
        self.student = self._distillation.student

    def _gathered(self) -> Pool:
        made = self._synthesis.pool() if self._made is None else self._made
        return Pool(
            self.session,
            made,
            self.session.affordable(self._settings.batch),
            self._settings.mixed,
            pasted=self._settings.pasted,
            hard=True,
        )
