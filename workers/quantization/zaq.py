"""ZAQ: a generator that makes the float and the quantized network disagree, and the quantized network tuned to agree.

With P the float network, Q the quantized one and G a generator that takes noise alone, Q minimizes D_o + α D_f, and G
minimizes −D_o − α D_f + β R:

- D_o, the L1 distance of outputs, the mean over all output nodes.
- D_f = Σ_l a_l · L1 between the channel relation maps of layer l; see relation_maps.py.
- R = −mean |last feature map of P|, so that what G makes still looks like something to P.

It needs no BatchNorm and no classes, and so works for any outputs.

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
from faceter.graphs.qdq import QuantizationPlan
from workers.jobs.checkpoints import State
from workers.quantization.prepared import Outcome, Prepared
from workers.quantization.rq import RawQuantization
from workers.quantization.tuning.batches import space_of
from workers.quantization.tuning.generated import GeneratorTrainer
from workers.quantization.tuning.gradients import limit_gradient
from workers.quantization.tuning.inputs import require_input_space
from workers.quantization.tuning.loop import Losses
from workers.quantization.tuning.relation_maps import LayerWeights, map_difference
from workers.quantization.tuning.schedules import set_rate, staircase
from workers.quantization.tuning.session import Session

_MAP_CHANNELS = 1024


@dataclass(frozen=True)
class AdversarialQuantization:
    """Settings of ZAQ.

    Not as in the published code, which trains 18,000 rounds on a GPU: a quarter of its batch and half the generator's
    width, since the time is that of a CPU, and shorter epochs, since there are fewer rounds. The rate of Q is 1e-3 and
    not 0.1 and its gradient is kept from being large, since BatchNorm, which makes weights indifferent to their scale,
    is folded into them here; at 0.1 Q diverges at once.

    Args:
        batch: Inputs in a batch.
        latent: Size of z.
        width: Channels of the generator's first convolutions.
        alpha: Weight α of the relation maps.
        beta: Weight β of the activation regularizer.
        student_steps: Steps of Q to one of G.
        rate: Learning rate of Q (SGD).
        momentum: Its momentum.
        weight_decay: Its weight decay.
        clip: Largest norm of Q's gradient, as a share of that of its weights.
        generator_rate: Learning rate of G (Adam).
        milestones: Shares of the budget at which both rates fall to a tenth.
        rounds: Rounds, each of ``student_steps`` and one step of G, in an epoch.
        decay: Weight of earlier epochs in the moving average of the layers' differences.
        layers: Most layers to compare relation maps of.
        held_out_at: Shares of the budget at which inputs are held out.
    """

    batch: int = 64
    latent: int = 256
    width: int = 64
    alpha: float = 1.0
    beta: float = 0.1
    student_steps: int = 5
    rate: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 5e-4
    clip: float = 0.1
    generator_rate: float = 1e-3
    milestones: tuple[float, ...] = (1 / 3, 2 / 3)
    rounds: int = 10
    decay: float = 0.9
    layers: int = 12
    held_out_at: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7)

    equalizes: ClassVar[bool] = False

    def check(self, prepared: Prepared) -> None:
        """See that the network's inputs can be made by gradient.

        Raises:
            FaceterError: ``METHOD_NOT_APPLICABLE``, naming methods that do work.
        """
        require_input_space(prepared.model, prepared.inputs, prepared.preprocessing)

    def start(self, prepared: Prepared, request: QuantizationRequest) -> Outcome:
        """Return the network after rounding alone: RQ's."""
        return RawQuantization()(prepared, request)

    def trainer(self, session: Session, start: QuantizationPlan) -> AdversarialTrainer:
        """Return the method at work, as it stands before its first step."""
        return AdversarialTrainer(self, session, start)


class AdversarialTrainer(GeneratorTrainer):
    """ZAQ at work.

    Attributes:
        layers: The feature maps whose channel relations are compared.
        weights: Their weights a_l.

    Args:
        settings: Its settings.
        session: What it works with.
        start: The network after rounding alone.
    """

    path = "inputs of a generator that seeks where the quantized network differs"

    def __init__(self, settings: AdversarialQuantization, session: Session, start: QuantizationPlan) -> None:
        self.settings = settings
        super().__init__(session, settings, start)
        self.layers = compared_layers(session, settings.layers)
        self.weights = LayerWeights(len(self.layers), settings.decay)

    @property
    def phase(self) -> str:
        """There is one phase only."""
        return "tuning"

    def step(self, fraction: float) -> Losses:
        """Take the next step of the round: some of Q, then one of G."""
        self.hold_out(fraction)
        decay = self.rate * staircase(fraction, self.settings.milestones)
        place = self.steps % (self.settings.student_steps + 1)
        self.steps += 1
        if place < self.settings.student_steps:
            set_rate(self.optimizer, decay * self.settings.rate)
            return self.train_student()
        set_rate(self.generator_optimizer, decay * self.settings.generator_rate)
        losses = self.train_generator()
        if self.generator_steps % self.settings.rounds == 0:
            self.weights.end_epoch()
        return losses

    def train_student(self) -> Losses:
        """Take one step of Q: minimize D_o + α D_f."""
        with torch.no_grad():
            x, _ = self.generate()
        wanted = self.session.ask_teacher(x, self.layers)
        outputs, features = self._discrepancies(wanted, self.session.run(self.student, x, self.layers))
        self.optimizer.zero_grad()
        torch.autograd.backward(outputs + self.settings.alpha * features)
        limit_gradient(self.student.values(), self.settings.clip)
        self.optimizer.step()
        return {"outputs": outputs.detach(), "relations": features.detach()}

    def train_generator(self) -> Losses:
        """Take one step of G: minimize −D_o − α D_f + β R."""
        x, _ = self.generate()
        watched = [*self.layers, *self.session.features[-1:]]
        wanted = self.session.run(self.session.teacher, x, watched)
        outputs, features = self._discrepancies(wanted, self.session.run(self.student, x, self.layers))
        regularizer = activation_regularizer(wanted[watched[-1]]) if watched else torch.zeros_like(outputs)
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
        """Return what every generator's method keeps, and the layers' weights."""
        return super().state() | {"weights": self.weights.state()}

    def restore(self, state: State) -> None:
        """Go on from what :meth:`state` returned."""
        super().restore(state)
        self.weights.restore(state["weights"])

    def _discrepancies(self, teacher: Mapping[str, Tensor], student: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return D_o and D_f, and take note of the layers' differences."""
        outputs = output_discrepancy(self.session.heads.tensors, teacher, student)
        if not self.layers:
            return outputs, torch.zeros_like(outputs)
        differences = torch.stack([map_difference(teacher[name], student[name]) for name in self.layers])
        weights = self.weights.values.to(differences.device)
        self.weights.note(differences)
        return outputs, (weights * differences).sum()


def output_discrepancy(heads: Sequence[str], teacher: Mapping[str, Tensor], student: Mapping[str, Tensor]) -> Tensor:
    """Return D_o: |P(x) − Q(x)|, the mean over all output nodes of all heads and over the batch.

    Args:
        heads: Names of the outputs.
        teacher: P's outputs, [N, …] each.
        student: Q's.
    """
    distances = [(teacher[name].float() - student[name].float()).abs().flatten(1) for name in heads]
    return torch.cat(distances, dim=1).mean()


def activation_regularizer(features: Tensor) -> Tensor:
    """Return R: −mean |features|.

    Args:
        features: P's last feature map, [N, C, …].
    """
    return -features.float().abs().mean()


def compared_layers(session: Session, most: int) -> list[str]:
    """Return the feature maps to compare channel relations of, evenly spread over the depth, the last among them.

    Args:
        session: The network and its features; those without places, where a channel is a single number, have no
            relation maps worth the name, and those of more than 1,024 channels would take too much memory.
        most: How many at most.
    """
    space = space_of(session)
    found = session.ask_teacher(session.arranged(space.noise(space.fixed or 1, 0)), session.features)
    maps = [
        name
        for name in session.features
        if found[name].ndim > 2 and 1 < found[name].shape[1] <= _MAP_CHANNELS and found[name][0, 0].numel() > 1
    ]
    if len(maps) <= most:
        return maps
    chosen = np.linspace(0, len(maps) - 1, most).round().astype(int)
    return [maps[index] for index in dict.fromkeys(chosen.tolist())]
