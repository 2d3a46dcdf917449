"""GDFQ: a conditional generator that matches BatchNorm statistics, and fine-tuning on its inputs.

The generator G(z, y) maps noise and a random class to inputs x̂. It minimizes CE(P(x̂), y) + 0.1 · L_BNS with
L_BNS = Σ_l ‖μ_l(x̂) − μ_l^BN‖² + ‖σ_l(x̂) − σ_l^BN‖²; the quantized network Q minimizes CE(Q(x̂), y) + KL(P(x̂) ‖ Q(x̂))
(the paper's losses of G and of Q). G alone is trained first (warm-up), then both alternately, each pair of steps on
the same inputs. BatchNorm statistics of Q are fixed, since BatchNorm is folded into its convolutions.

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
from faceter.graphs.quantization_plan import QuantizationPlan
from workers.jobs.checkpoints import State
from workers.quantization.method import MethodResult
from workers.quantization.prepare import PreparedNetwork
from workers.quantization.rq import RawQuantization
from workers.quantization.tuning.gradient_clipping import clip_gradient
from workers.quantization.tuning.inputs.batch_norm import BatchNormTeacher, require_batch_norm
from workers.quantization.tuning.inputs.generator_trainer import GeneratorTrainer
from workers.quantization.tuning.inputs.session_inputs import class_count
from workers.quantization.tuning.inputs.space import require_input_space
from workers.quantization.tuning.schedules import set_learning_rate, step_decay
from workers.quantization.tuning.session import TuningSession
from workers.quantization.tuning.student.heads import find_heads
from workers.quantization.tuning.student.losses import kl_divergence
from workers.training.trainer import Losses


@dataclass(frozen=True)
class GDFQ:
    """Settings of GDFQ.

    Differences from the paper, which takes 80,000 steps of each network on a GPU: a third of its batch and half the
    width of the generator, for CPU time; a fifth of the budget for warm-up, since a hundredth would be a few steps; a
    learning rate of Q of 3e-3 and not 1e-4, since Q takes a few hundred steps; and gradient clipping, since the
    gradient is ten times as large in the first of them.

    Args:
        batch: Batch size.
        latent: Size of z.
        width: Channels of the generator's first convolutions.
        batch_norm_weight: Weight of L_BNS in G's loss.
        warm_up: Fraction of the budget in which G alone is trained.
        generator_learning_rate: Learning rate of G (Adam).
        learning_rate: Learning rate of Q (SGD with Nesterov momentum).
        momentum: Momentum of Q.
        weight_decay: Weight decay of Q.
        gradient_clip: Largest norm of Q's gradient, as a fraction of the norm of its weights.
        milestones: Fractions of the budget at which both learning rates fall to a tenth.
        held_out_at: Fractions of the budget at which inputs are held out.
    """

    batch: int = 64
    latent: int = 100
    width: int = 64
    batch_norm_weight: float = 0.1
    warm_up: float = 0.2
    generator_learning_rate: float = 1e-3
    learning_rate: float = 3e-3
    momentum: float = 0.9
    weight_decay: float = 1e-4
    gradient_clip: float = 0.1
    milestones: tuple[float, ...] = (0.25, 0.5, 0.75)
    held_out_at: tuple[float, ...] = (0.3, 0.4, 0.5, 0.6)

    equalizes: ClassVar[bool] = False

    def check(self, prepared: PreparedNetwork) -> None:
        """Check that the network has BatchNorm, class scores and a single float input.

        Raises:
            FaceterError: ``METHOD_NOT_APPLICABLE``, naming methods that apply.
        """
        require_batch_norm(prepared)
        if find_heads(prepared.model, prepared.metadata).logits is None:
            raise FaceterError(
                ProblemKind.METHOD_NOT_APPLICABLE,
                "GDFQ generates inputs of given classes and needs a classifier; by its metadata this model is for "
                f"{prepared.metadata.task}. zaq, auto, zeroq, ft, rq, dfq and aciq apply to it.",
                field="method",
            )
        require_input_space(prepared.model, prepared.inputs, prepared.preprocessing)

    def start(self, prepared: PreparedNetwork, request: QuantizationRequest) -> MethodResult:
        """Return the network rounded by RQ."""
        return RawQuantization()(prepared, request)

    def trainer(self, session: TuningSession, start: QuantizationPlan) -> GDFQTrainer:
        """Return the trainer, before its first step."""
        return GDFQTrainer(self, session, start)


class GDFQTrainer(GeneratorTrainer):
    """Trainer of GDFQ.

    Args:
        start: The network rounded by RQ.
    """

    path = "inputs of a generator, given a class and matched to BatchNorm statistics"

    def __init__(self, settings: GDFQ, session: TuningSession, start: QuantizationPlan) -> None:
        assert session.heads.logits is not None
        self.settings = settings
        self.logits = session.heads.logits
        super().__init__(session, settings, start, classes=class_count(session), nesterov=True)
        self.batch_norm_teacher = BatchNormTeacher(session)
        self._warmed_up = False
        self._last_batch: dict[str, Tensor] | None = None

    @property
    def phase(self) -> str:
        """``generator`` during warm-up, then ``tuning``."""
        return "tuning" if self._warmed_up else "generator"

    def enter_phase(self, fraction: float) -> None:
        """End the warm-up when it has used its share of the budget."""
        self._warmed_up = self._warmed_up or fraction >= self.settings.warm_up

    def step(self, fraction: float) -> Losses:
        """Take a step of G, or of Q on the inputs of G's last step."""
        self.hold_out(fraction)
        decay = self.rate * step_decay(fraction, self.settings.milestones)
        self.steps += 1
        if self._last_batch is None or not self._warmed_up:
            set_learning_rate(self.generator_optimizer, decay * self.settings.generator_learning_rate)
            return self.train_generator()
        set_learning_rate(self.optimizer, decay * self.settings.learning_rate)
        return self.train_student()

    def train_generator(self) -> Losses:
        """Take one step of G: minimize CE(P(x̂), y) + batch_norm_weight · L_BNS."""
        x, labels = self.generate()
        assert labels is not None
        tensors, statistics = self.batch_norm_teacher.run(x)
        logits = tensors[self.logits].float()
        classes = functional.cross_entropy(logits, labels)
        self.generator_optimizer.zero_grad()
        torch.autograd.backward(classes + self.settings.batch_norm_weight * statistics)
        self.generator_optimizer.step()
        self.generator_steps += 1
        self._last_batch = {"x": x.detach(), "labels": labels, "logits": logits.detach()}
        return {"generator_classes": classes.detach(), "statistics": statistics.detach()}

    def train_student(self) -> Losses:
        """Take one step of Q on the inputs of G's last step: minimize CE(Q(x̂), y) + KL(P(x̂) ‖ Q(x̂))."""
        assert self._last_batch is not None
        batch, self._last_batch = self._last_batch, None
        logits = self.session.run(self.student, batch["x"])[self.logits].float()
        classes = functional.cross_entropy(logits, batch["labels"])
        divergence = kl_divergence(batch["logits"], logits)
        self.optimizer.zero_grad()
        torch.autograd.backward(classes + divergence)
        clip_gradient(self.student.weights_and_biases(), self.settings.gradient_clip)
        self.optimizer.step()
        return {"classes": classes.detach(), "kl": divergence.detach()}

    def state(self) -> State:
        """Return the state for a checkpoint."""
        return super().state() | {"warmed_up": self._warmed_up, "last_batch": self._last_batch}

    def restore(self, state: State) -> None:
        """Restore what :meth:`state` returned."""
        super().restore(state)
        self._warmed_up = state["warmed_up"]
        batch = state["last_batch"]
        device = self.session.device
        self._last_batch = None if batch is None else {name: value.to(device) for name, value in batch.items()}
        if self._last_batch is not None:
            self._last_batch["x"] = self.session.to_device(self._last_batch["x"])
