"""GDFQ: a conditional generator that matches BatchNorm's statistics, and the network tuned on what it makes.

G(z, y) makes inputs x̂ of noise and a random class. It minimizes CE(P(x̂), y) + 0.1 · L_BN with
L_BN = Σ_l ‖μ_l(x̂) − μ_l^BN‖² + ‖σ_l(x̂) − σ_l^BN‖²; the quantized network Q minimizes CE(Q(x̂), y) + KL(P(x̂) ‖ Q(x̂)).
G alone is trained first, then both in turn, each pair of steps on the same inputs. BatchNorm stays as it is: in Q it is
folded into the convolutions.

References:
    Xu et al., "Generative Low-bitwidth Data Free Quantization", ECCV 2020, arXiv 2003.03603.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.quantizations import QuantizationRequest
from faceter.graphs.qdq import QuantizationPlan
from workers.jobs.checkpoints import State
from workers.quantization.prepared import Outcome, Prepared
from workers.quantization.rq import RawQuantization
from workers.quantization.tuning.batch_norm import NormalizedNetwork, require_batch_norm
from workers.quantization.tuning.batches import class_count
from workers.quantization.tuning.generated import GeneratorTrainer
from workers.quantization.tuning.gradients import limit_gradient
from workers.quantization.tuning.inputs import require_input_space
from workers.quantization.tuning.loop import Losses
from workers.quantization.tuning.losses import find_heads, kl_divergence
from workers.quantization.tuning.schedules import set_rate, staircase
from workers.quantization.tuning.session import Session


@dataclass(frozen=True)
class GenerativeQuantization:
    """Settings of GDFQ.

    Not as in the paper, which takes 80,000 steps of each network on a GPU: a third of its batch and half the width of
    the generator, since the time is that of a CPU; a fifth of the budget for G alone, since a hundredth would be a few
    steps; a rate of Q of 3e-3 and not 1e-4, since it has a few hundred steps to learn in, and a limit on its gradient,
    which is ten times as large in the first of them.

    Args:
        batch: Inputs in a batch.
        latent: Size of z.
        width: Channels of the generator's first convolutions.
        statistics: Weight of the BatchNorm statistics in G's loss.
        warm_up: Share of the budget in which G alone is trained.
        generator_rate: Learning rate of G (Adam).
        rate: Learning rate of Q (SGD with Nesterov momentum).
        momentum: Its momentum.
        weight_decay: Its weight decay.
        clip: Largest norm of Q's gradient, as a share of that of its weights.
        milestones: Shares of the budget at which both rates fall to a tenth.
        held_out_at: Shares of the budget at which inputs are held out.
    """

    batch: int = 64
    latent: int = 100
    width: int = 64
    statistics: float = 0.1
    warm_up: float = 0.2
    generator_rate: float = 1e-3
    rate: float = 3e-3
    momentum: float = 0.9
    weight_decay: float = 1e-4
    clip: float = 0.1
    milestones: tuple[float, ...] = (0.25, 0.5, 0.75)
    held_out_at: tuple[float, ...] = (0.3, 0.4, 0.5, 0.6)

    equalizes: ClassVar[bool] = False

    def check(self, prepared: Prepared) -> None:
        """See that the network has BatchNorm and class scores.

        Raises:
            FaceterError: ``METHOD_NOT_APPLICABLE``, naming methods that do work.
        """
        require_batch_norm(prepared)
        if find_heads(prepared.model, prepared.metadata).logits is None:
            raise FaceterError(
                ProblemKind.METHOD_NOT_APPLICABLE,
                "GDFQ makes inputs of given classes, and so needs a classifier; by its metadata this model is for "
                f"{prepared.metadata.task}. zaq, auto, zeroq, ft, rq, dfq and aciq work for it.",
                field="method",
            )
        require_input_space(prepared.model, prepared.inputs, prepared.preprocessing)

    def start(self, prepared: Prepared, request: QuantizationRequest) -> Outcome:
        """Return the network after rounding alone: RQ's."""
        return RawQuantization()(prepared, request)

    def trainer(self, session: Session, start: QuantizationPlan) -> GenerativeTrainer:
        """Return the method at work, as it stands before its first step."""
        return GenerativeTrainer(self, session, start)


class GenerativeTrainer(GeneratorTrainer):
    """GDFQ at work.

    Args:
        settings: Its settings.
        session: What it works with.
        start: The network after rounding alone.
    """

    path = "inputs of a generator, given a class and matched to BatchNorm statistics"

    def __init__(self, settings: GenerativeQuantization, session: Session, start: QuantizationPlan) -> None:
        assert session.heads.logits is not None
        self.settings = settings
        self.logits = session.heads.logits
        super().__init__(session, settings, start, classes=class_count(session), nesterov=True)
        self.normalized = NormalizedNetwork(session)
        self._warm = False
        self._made_last: dict[str, Tensor] | None = None

    @property
    def phase(self) -> str:
        """Whether G alone is trained, or both."""
        return "tuning" if self._warm else "generator"

    def turn(self, fraction: float) -> None:
        """Begin to train Q when G has had its share of the budget."""
        self._warm = self._warm or fraction >= self.settings.warm_up

    def step(self, fraction: float) -> Losses:
        """Take a step of G, or of Q on what G's last step was taken on."""
        self.hold_out(fraction)
        decay = self.rate * staircase(fraction, self.settings.milestones)
        self.steps += 1
        if self._made_last is None or not self._warm:
            set_rate(self.generator_optimizer, decay * self.settings.generator_rate)
            return self.train_generator()
        set_rate(self.optimizer, decay * self.settings.rate)
        return self.train_student()

    def train_generator(self) -> Losses:
        """Take one step of G."""
        x, labels = self.generate()
        assert labels is not None
        found, statistics = self.normalized.run(x)
        logits = found[self.logits].float()
        classes = functional.cross_entropy(logits, labels)
        self.generator_optimizer.zero_grad()
        torch.autograd.backward(classes + self.settings.statistics * statistics)
        self.generator_optimizer.step()
        self.generator_steps += 1
        self._made_last = {"x": x.detach(), "labels": labels, "logits": logits.detach()}
        return {"generator_classes": classes.detach(), "statistics": statistics.detach()}

    def train_student(self) -> Losses:
        """Take one step of Q on the inputs of G's last step."""
        assert self._made_last is not None
        made, self._made_last = self._made_last, None
        logits = self.session.run(self.student, made["x"])[self.logits].float()
        classes = functional.cross_entropy(logits, made["labels"])
        divergence = kl_divergence(made["logits"], logits)
        self.optimizer.zero_grad()
        torch.autograd.backward(classes + divergence)
        limit_gradient(self.student.values(), self.settings.clip)
        self.optimizer.step()
        return {"classes": classes.detach(), "kl": divergence.detach()}

    def state(self) -> State:
        """Return what every generator's method keeps, and the inputs that Q's next step is taken on."""
        return super().state() | {"warm": self._warm, "made_last": self._made_last}

    def restore(self, state: State) -> None:
        """Go on from what :meth:`state` returned."""
        super().restore(state)
        self._warm = state["warm"]
        made = state["made_last"]
        device = self.session.device
        self._made_last = None if made is None else {name: value.to(device) for name, value in made.items()}
        if self._made_last is not None:
            self._made_last["x"] = self.session.arranged(self._made_last["x"])
