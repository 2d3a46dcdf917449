"""ZAQ: an adversarial generator that maximizes the discrepancy of the float and the quantized network.

With P the float network, Q the quantized one and G a generator from noise alone, Q minimizes D_o + α D_f (knowledge
transfer), and G minimizes −D_o − α D_f + β R (discrepancy estimation):

- D_o is the L1 distance of outputs, the mean over all output nodes.
- D_f = Σ_l a_l · L1 between the channel relation maps of layer l; see relation_maps.py.
- R = −mean |last feature map of P|, the activation regularizer, keeps features of generated inputs strongly activated.

It needs neither BatchNorm nor classes and applies to outputs of any kind.

References:
    Liu, Zhang, Wang, "Zero-shot Adversarial Quantization", CVPR 2021, arXiv 2103.15263.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from faceter.contracts.quantizations import QuantizationRequest
from faceter.graphs.quantization_plan import QuantizationPlan
from workers.jobs.checkpoints import State
from workers.quantization.method import MethodResult
from workers.quantization.prepare import PreparedNetwork
from workers.quantization.rq import RawQuantization
from workers.quantization.tuning.gradient_clipping import clip_gradient
from workers.quantization.tuning.inputs.generator_trainer import GeneratorTrainer
from workers.quantization.tuning.inputs.session_inputs import input_space_of
from workers.quantization.tuning.inputs.space import require_input_space
from workers.quantization.tuning.schedules import set_learning_rate, step_decay
from workers.quantization.tuning.session import TuningSession
from workers.quantization.tuning.student.relation_maps import RelationMapWeights, map_difference
from workers.training.trainer import Losses

_MAX_MAP_CHANNELS = 1024


@dataclass(frozen=True)
class ZAQ:
    """Settings of ZAQ.

    Differences from the published code, which trains 18,000 rounds on a GPU: a quarter of its batch, half the
    generator's width, and shorter epochs, for CPU time. The learning rate of Q is 1e-3 and not 0.1, with gradient
    clipping, since BatchNorm, which makes weights invariant to their scale, is folded here; at 0.1 Q diverges at once.

    Args:
        batch: Batch size.
        latent: Size of z.
        width: Channels of the generator's first convolutions.
        alpha: Weight α of D_f.
        beta: Weight β of R.
        student_steps: Steps of Q per step of G.
        learning_rate: Learning rate of Q (SGD).
        momentum: Momentum of Q.
        weight_decay: Weight decay of Q.
        gradient_clip: Largest norm of Q's gradient, as a fraction of the norm of its weights.
        generator_learning_rate: Learning rate of G (Adam).
        milestones: Fractions of the budget at which both learning rates fall to a tenth.
        rounds_per_epoch: Rounds per epoch, each of ``student_steps`` steps of Q and one of G.
        ema_decay: Weight of earlier epochs in the moving average behind a_l.
        max_layers: Most layers in D_f.
        held_out_at: Fractions of the budget at which inputs are held out.
    """

    batch: int = 64
    latent: int = 256
    width: int = 64
    alpha: float = 1.0
    beta: float = 0.1
    student_steps: int = 5
    learning_rate: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 5e-4
    gradient_clip: float = 0.1
    generator_learning_rate: float = 1e-3
    milestones: tuple[float, ...] = (1 / 3, 2 / 3)
    rounds_per_epoch: int = 10
    ema_decay: float = 0.9
    max_layers: int = 12
    held_out_at: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7)

    equalizes: ClassVar[bool] = False

    def check(self, prepared: PreparedNetwork) -> None:
        """Check that the network has a single float input.

        Raises:
            FaceterError: ``METHOD_NOT_APPLICABLE``, naming methods that apply.
        """
        require_input_space(prepared.model, prepared.inputs, prepared.preprocessing)

    def start(self, prepared: PreparedNetwork, request: QuantizationRequest) -> MethodResult:
        """Return the network rounded by RQ."""
        return RawQuantization()(prepared, request)

    def trainer(self, session: TuningSession, start: QuantizationPlan) -> ZAQTrainer:
        """Return the trainer, before its first step."""
        return ZAQTrainer(self, session, start)


class ZAQTrainer(GeneratorTrainer):
    """Trainer of ZAQ.

    Attributes:
        layers: The feature maps in D_f.
        weights: Their weights a_l.

    Args:
        start: The network rounded by RQ.
    """

    path = "inputs of a generator that seeks where the quantized network differs"

    def __init__(self, settings: ZAQ, session: TuningSession, start: QuantizationPlan) -> None:
        self.settings = settings
        super().__init__(session, settings, start)
        self.layers = relation_map_layers(session, settings.max_layers)
        self.weights = RelationMapWeights(len(self.layers), settings.ema_decay)

    @property
    def phase(self) -> str:
        """Always ``tuning``."""
        return "tuning"

    def step(self, fraction: float) -> Losses:
        """Take the next step of the round: ``student_steps`` of Q, then one of G."""
        self.hold_out(fraction)
        decay = self.rate * step_decay(fraction, self.settings.milestones)
        step_in_round = self.steps % (self.settings.student_steps + 1)
        self.steps += 1
        if step_in_round < self.settings.student_steps:
            set_learning_rate(self.optimizer, decay * self.settings.learning_rate)
            return self.train_student()
        set_learning_rate(self.generator_optimizer, decay * self.settings.generator_learning_rate)
        losses = self.train_generator()
        if self.generator_steps % self.settings.rounds_per_epoch == 0:
            self.weights.end_epoch()
        return losses

    def train_student(self) -> Losses:
        """Take one step of Q: minimize D_o + α D_f."""
        with torch.no_grad():
            x, _ = self.generate()
        teacher = self.session.teacher_outputs(x, self.layers)
        outputs, features = self._discrepancies(teacher, self.session.run(self.student, x, self.layers))
        self.optimizer.zero_grad()
        torch.autograd.backward(outputs + self.settings.alpha * features)
        clip_gradient(self.student.weights_and_biases(), self.settings.gradient_clip)
        self.optimizer.step()
        return {"outputs": outputs.detach(), "relations": features.detach()}

    def train_generator(self) -> Losses:
        """Take one step of G: minimize −D_o − α D_f + β R."""
        x, _ = self.generate()
        watched = [*self.layers, *self.session.features[-1:]]
        teacher = self.session.run(self.session.teacher, x, watched)
        outputs, features = self._discrepancies(teacher, self.session.run(self.student, x, self.layers))
        regularizer = activation_regularizer(teacher[watched[-1]]) if watched else torch.zeros_like(outputs)
        loss = self.settings.beta * regularizer - outputs - self.settings.alpha * features
        self.generator_optimizer.zero_grad()
        torch.autograd.backward(loss, inputs=list(self.generator.parameters()))
        self.generator_optimizer.step()
        self.generator_steps += 1
        return {
            "generator_outputs": outputs.detach(),
            "generator_relations": features.detach(),
            "activation": -regularizer.detach(),
        }

    def state(self) -> State:
        """Return the state for a checkpoint."""
        return super().state() | {"weights": self.weights.state()}

    def restore(self, state: State) -> None:
        """Restore what :meth:`state` returned."""
        super().restore(state)
        self.weights.restore(state["weights"])

    def _discrepancies(self, teacher: Mapping[str, Tensor], student: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return D_o and D_f, both [], and add the layers' differences to the weights' average."""
        outputs = output_discrepancy(self.session.heads.tensors, teacher, student)
        if not self.layers:
            return outputs, torch.zeros_like(outputs)
        differences = torch.stack([map_difference(teacher[name], student[name]) for name in self.layers])
        weights = self.weights.values.to(differences.device)
        self.weights.update(differences)
        return outputs, (weights * differences).sum()


def output_discrepancy(heads: Sequence[str], teacher: Mapping[str, Tensor], student: Mapping[str, Tensor]) -> Tensor:
    """Return D_o: |P(x) − Q(x)|, the mean over all output nodes of all heads and over the batch, [].

    Args:
        heads: Names of the outputs.
        teacher: Outputs of P, [N, …] each.
        student: Outputs of Q, likewise.
    """
    distances = [(teacher[name].float() - student[name].float()).abs().flatten(1) for name in heads]
    return torch.cat(distances, dim=1).mean()


def activation_regularizer(features: Tensor) -> Tensor:
    """Return R: −mean |features|, [].

    Args:
        features: The last feature map of P, [N, C, …].
    """
    return -features.float().abs().mean()


def relation_map_layers(session: TuningSession, max_layers: int) -> list[str]:
    """Return at most ``max_layers`` feature maps for D_f, evenly spread over the depth, the last among them.

    Features without spatial axes have no relation maps; maps of more than 1,024 channels take too much memory.
    """
    space = input_space_of(session)
    features = session.teacher_outputs(session.to_device(space.noise(space.fixed_batch or 1, 0)), session.features)
    maps = [
        name
        for name in session.features
        if features[name].ndim > 2
        and 1 < features[name].shape[1] <= _MAX_MAP_CHANNELS
        and features[name][0, 0].numel() > 1
    ]
    if len(maps) <= max_layers:
        return maps
    chosen = np.linspace(0, len(maps) - 1, max_layers).round().astype(int)
    return [maps[index] for index in dict.fromkeys(chosen.tolist())]
