"""ZeroQ: distilled data from BatchNorm statistics, activation ranges measured on them, and fine-tuning on them.

Each batch of distilled data starts as N(0, 1) and is optimized by Adam to minimize
Σ_l ‖μ_l(x) − μ_l^BN‖² + ‖σ_l(x) − σ_l^BN‖² over the inputs l of all BatchNorms, and the same for x itself with mean 0
and deviation 1 (the paper's distilled-data objective). Activation ranges are the smallest and largest values on the
distilled data, and the quantized network Q is tuned to minimize KL(P(x) ‖ Q(x)). The paper stops at the ranges; the
fine-tuning is that of the ZeroQ baseline in ZAQ's experiments.

References:
    Cai et al., "ZeroQ: A Novel Zero Shot Quantization Framework", CVPR 2020, arXiv 2001.00281.
    Liu, Zhang, Wang, "Zero-shot Adversarial Quantization", CVPR 2021, arXiv 2103.15263.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from faceter.contracts.quantizations import QuantizationRequest
from faceter.graphs.quantization_plan import QuantizationPlan
from workers.jobs.checkpoints import State
from workers.quantization.calibration import activation_statistics, min_max_quantizers
from workers.quantization.method import MethodResult
from workers.quantization.prepare import PreparedNetwork
from workers.quantization.rq import RawQuantization
from workers.quantization.statistics import StatisticsSource
from workers.quantization.tuning.gradient_clipping import clip_gradient
from workers.quantization.tuning.inputs.batch_norm import BatchNormTeacher, input_moment_loss, require_batch_norm
from workers.quantization.tuning.inputs.session_inputs import batch_size_for, input_space_of
from workers.quantization.tuning.inputs.space import require_input_space
from workers.quantization.tuning.schedules import cosine_decay, set_learning_rate
from workers.quantization.tuning.session import TuningSession
from workers.quantization.tuning.student.losses import output_divergence
from workers.quantization.tuning.trainer import TuningTrainer
from workers.training.trainer import Losses


@dataclass(frozen=True)
class ZeroQ:
    """Settings of ZeroQ.

    Differences from the paper, which distils one batch in 500 iterations: 200 iterations for each of as many batches as
    the budget allows, since fine-tuning needs many inputs more than perfect ones; and inputs are clamped to the pixel
    range, since Q's first quantizer clips them to it.

    Args:
        batch: Batch size of distillation and of fine-tuning.
        iterations: Adam steps per distilled batch.
        input_learning_rate: Learning rate of Adam on the inputs, with cosine decay.
        synthesis_share: Fraction of the budget for distilled data.
        learning_rate: Learning rate of Q (SGD), with cosine decay.
        momentum: Momentum of Q.
        weight_decay: Weight decay of Q.
        gradient_clip: Largest norm of Q's gradient, as a fraction of the norm of its weights.
    """

    batch: int = 64
    iterations: int = 200
    input_learning_rate: float = 0.1
    synthesis_share: float = 0.5
    learning_rate: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 0.0
    gradient_clip: float = 0.1

    equalizes: ClassVar[bool] = False

    def check(self, prepared: PreparedNetwork) -> None:
        """Check that the network has BatchNorm and a single float input.

        Raises:
            FaceterError: ``METHOD_NOT_APPLICABLE``, naming methods that apply.
        """
        require_batch_norm(prepared)
        require_input_space(prepared.model, prepared.inputs, prepared.preprocessing)

    def start(self, prepared: PreparedNetwork, request: QuantizationRequest) -> MethodResult:
        """Return the network rounded by RQ; nothing is distilled yet."""
        return RawQuantization()(prepared, request)

    def trainer(self, session: TuningSession, start: QuantizationPlan) -> ZeroQTrainer:
        """Return the trainer, before its first step."""
        return ZeroQTrainer(self, session, start)


class ZeroQTrainer(TuningTrainer):
    """Trainer of ZeroQ.

    Attributes:
        x: The batch that is being distilled, [N, …].
        pool: Distilled inputs that Q is tuned on, [M, …]; None during synthesis.

    Args:
        start: The network rounded by RQ.
    """

    path = "inputs distilled from BatchNorm statistics"

    def __init__(self, settings: ZeroQ, session: TuningSession, start: QuantizationPlan) -> None:
        super().__init__(session)
        self.settings = settings
        self.start = start
        self.space = input_space_of(session)
        self.batch_norm_teacher = BatchNormTeacher(session)
        self.batch = batch_size_for(session, settings.batch)
        self.pool: Tensor | None = None
        self._finished: list[Tensor] = []
        self._held_out: Tensor | None = None
        self._teacher_outputs: dict[str, Tensor] = {}
        self._input_random = session.random("distilled inputs")
        self._batch_random = session.random("order of distilled inputs")
        self._take_student(start)
        self._init_batch()

    @property
    def phase(self) -> str:
        """``synthesis`` or ``tuning``."""
        return "synthesis" if self.pool is None else "tuning"

    def enter_phase(self, fraction: float) -> None:
        """Begin fine-tuning when synthesis has used its share of the budget."""
        if self.pool is None and fraction >= self.settings.synthesis_share and (self._finished or self.iteration):
            self.begin_tuning()

    def step(self, fraction: float) -> Losses:
        """Take a step on the batch that is being distilled, or a step of Q."""
        if self.pool is None:
            return self.distill()
        progress = (fraction - self.settings.synthesis_share) / max(1.0 - self.settings.synthesis_share, 1e-9)
        set_learning_rate(self.optimizer, self.rate * self.settings.learning_rate * cosine_decay(progress))
        return self.tune()

    def distill(self) -> Losses:
        """Take one Adam step on the distilled batch; initialize the next after the last iteration."""
        progress = self.iteration / self.settings.iterations
        set_learning_rate(self.input_optimizer, self.rate * self.settings.input_learning_rate * cosine_decay(progress))
        _, statistics = self.batch_norm_teacher.run(self.x)
        input_moments = input_moment_loss(self.x)
        self.input_optimizer.zero_grad()
        torch.autograd.backward(statistics + input_moments, inputs=[self.x])
        self.input_optimizer.step()
        with torch.no_grad():
            self.x.copy_(self.space.clamp(self.x))
        self.iteration += 1
        if self.iteration == self.settings.iterations:
            self._finished.append(self.x.detach().clone())
            self._init_batch()
        return {"statistics": statistics.detach(), "input": input_moments.detach()}

    def begin_tuning(self) -> None:
        """Hold out the first batch, measure activation ranges on the others, and create Q with them.

        A batch with less than half of its iterations is dropped if there are others. A single batch is halved.
        """
        batches = list(self._finished)
        if self.iteration * 2 >= self.settings.iterations or not batches:
            batches.append(self.x.detach().clone())
        if len(batches) > 1:
            held_out, pool = batches[0], torch.cat(batches[1:])
        else:
            half = len(batches[0]) // 2
            held_out, pool = batches[0][:half], batches[0][half:]
        self._take_pool(held_out, pool)
        self._take_student(self._with_ranges(pool))

    def tune(self) -> Losses:
        """Take one step of Q towards P on a random batch of the pool."""
        assert self.pool is not None
        chosen = torch.randint(len(self.pool), (min(self.batch, len(self.pool)),), generator=self._batch_random)
        chosen = chosen.to(self.session.device)
        student = self.session.run(self.student, self.session.to_device(self.pool[chosen]))
        teacher = {name: values[chosen] for name, values in self._teacher_outputs.items()}
        divergence = output_divergence(self.session.heads, teacher, student)
        self.optimizer.zero_grad()
        torch.autograd.backward(divergence)
        clip_gradient(self.student.weights_and_biases(), self.settings.gradient_clip)
        self.optimizer.step()
        return {"kl" if self.session.heads.logits else "outputs": divergence.detach()}

    def finalize(self) -> None:
        """Give Q the ranges of the distilled data if fine-tuning has not begun."""
        if self.pool is None and (self._finished or self.iteration):
            self.begin_tuning()

    def held_out(self) -> Tensor | None:
        """Return the first distilled batch; None before fine-tuning."""
        return self._held_out

    def synthetic(self) -> Tensor | None:
        """Return all distilled inputs; None if there are none."""
        if self.pool is None or self._held_out is None:
            return torch.cat(self._finished).cpu() if self._finished else None
        return torch.cat([self._held_out, self.pool]).cpu()

    def state(self) -> State:
        """Return the state for a checkpoint."""
        return {
            "x": self.x.detach(),
            "input_optimizer": self.input_optimizer.state_dict(),
            "iteration": self.iteration,
            "finished": self._finished,
            "held_out": self._held_out,
            "pool": self.pool,
            "student": self.student.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "input_random": self._input_random.get_state(),
            "batch_random": self._batch_random.get_state(),
        }

    def restore(self, state: State) -> None:
        """Restore what :meth:`state` returned."""
        self._take_batch(state["x"])
        self.input_optimizer.load_state_dict(state["input_optimizer"])
        self.iteration = state["iteration"]
        self._finished = [self.session.to_device(batch) for batch in state["finished"]]
        self.pool = self._held_out = None
        self._teacher_outputs = {}
        if state["pool"] is not None:
            self._take_pool(state["held_out"], state["pool"])
        self._take_student(self.start)
        self.student.load_state_dict(state["student"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._input_random.set_state(state["input_random"])
        self._batch_random.set_state(state["batch_random"])

    def _init_batch(self) -> None:
        self._take_batch(torch.randn(self.batch, *self.space.shape, generator=self._input_random))
        self.iteration = 0

    def _take_batch(self, x: Tensor) -> None:
        self.x = self.session.to_device(x).clone().requires_grad_(True)
        self.input_optimizer = torch.optim.Adam([self.x], lr=self.settings.input_learning_rate)

    def _take_pool(self, held_out: Tensor, pool: Tensor) -> None:
        self._held_out, self.pool = self.session.to_device(held_out), self.session.to_device(pool)
        outputs = [self.session.teacher_outputs(chunk) for chunk in torch.split(self.pool, self.batch)]
        self._teacher_outputs = {
            name: torch.cat([chunk[name] for chunk in outputs]) for name in self.session.heads.tensors
        }

    def _take_student(self, plan: QuantizationPlan) -> None:
        self.student = self.session.student(plan, learned_steps=False)
        self.optimizer = torch.optim.SGD(
            self.student.weights_and_biases(),
            lr=self.settings.learning_rate,
            momentum=self.settings.momentum,
            weight_decay=self.settings.weight_decay,
        )

    def _with_ranges(self, inputs: Tensor) -> QuantizationPlan:
        """Return the initial plan with activation ranges measured by P on distilled inputs."""
        size = self.space.fixed_batch or self.batch
        padded = torch.arange(len(inputs) + -len(inputs) % size) % len(inputs)
        packing = self.session.packing
        batches = [packing.unpack(batch.numpy()) for batch in torch.split(inputs.cpu().contiguous()[padded], size)]
        calibrated = replace(
            self.session.prepared, model=self.start.model, batches=batches, source=StatisticsSource.CALIBRATION
        )
        statistics = activation_statistics(calibrated, self.start.sites)
        activations = min_max_quantizers(self.start.sites, statistics, self.session.request.activation_bits)
        return replace(self.start, activations=activations)
