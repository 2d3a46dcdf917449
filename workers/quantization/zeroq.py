"""ZeroQ: inputs distilled from BatchNorm's statistics, activation ranges measured on them, and tuning on them.

Each batch of inputs begins as N(0, 1) and is moved by Adam to minimize Σ_l ‖μ_l(x) − μ_l^BN‖² + ‖σ_l(x) − σ_l^BN‖²,
l being the input of every BatchNorm, and the same for x itself with mean 0 and deviation 1. Then the ranges of
activations are the smallest and largest values on what was distilled, and the quantized network Q is tuned to minimize
KL(P(x) ‖ Q(x)). (The paper stops at the ranges; the tuning is that of the comparison in ZAQ's paper.)

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
from faceter.graphs.qdq import QuantizationPlan
from workers.jobs.checkpoints import State
from workers.quantization.calibration import activation_statistics, min_max_quantizers
from workers.quantization.prepared import Outcome, Prepared
from workers.quantization.rq import RawQuantization
from workers.quantization.statistics import Source
from workers.quantization.tuning.batch_norm import NormalizedNetwork, require_batch_norm, standard_loss
from workers.quantization.tuning.batches import batch_of, space_of
from workers.quantization.tuning.gradients import limit_gradient
from workers.quantization.tuning.inputs import require_input_space
from workers.quantization.tuning.loop import Losses, Trainer
from workers.quantization.tuning.losses import output_divergence
from workers.quantization.tuning.schedules import cosine, set_rate
from workers.quantization.tuning.session import Session


@dataclass(frozen=True)
class DistilledQuantization:
    """Settings of ZeroQ.

    Not as in the paper, which distils one batch in 500 iterations: 200 for each of as many batches as there is time
    for, since tuning wants many inputs more than perfect ones. And inputs stay within what an image can be, since Q's
    first quantizer clips them to that.

    Args:
        batch: Inputs distilled together, and in a batch of tuning.
        iterations: Steps of Adam on each of those batches.
        distillation_rate: Their learning rate; it falls to 0 by a cosine.
        synthesis: Share of the budget that goes into distilled inputs.
        rate: Learning rate of Q (SGD); it falls to 0 by a cosine.
        momentum: Its momentum.
        weight_decay: Its weight decay.
        clip: Largest norm of Q's gradient, as a share of that of its weights.
    """

    batch: int = 64
    iterations: int = 200
    distillation_rate: float = 0.1
    synthesis: float = 0.5
    rate: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 0.0
    clip: float = 0.1

    equalizes: ClassVar[bool] = False

    def check(self, prepared: Prepared) -> None:
        """See that the network has BatchNorm.

        Raises:
            FaceterError: ``METHOD_NOT_APPLICABLE``, naming methods that do work.
        """
        require_batch_norm(prepared)
        require_input_space(prepared.model, prepared.inputs, prepared.preprocessing)

    def start(self, prepared: Prepared, request: QuantizationRequest) -> Outcome:
        """Return the network after rounding alone: RQ's, nothing being distilled yet."""
        return RawQuantization()(prepared, request)

    def trainer(self, session: Session, start: QuantizationPlan) -> DistilledTrainer:
        """Return the method at work, as it stands before its first step."""
        return DistilledTrainer(self, session, start)


class DistilledTrainer(Trainer):
    """ZeroQ at work.

    Attributes:
        x: The batch that is being distilled.
        pool: The inputs that Q is tuned on, once they are there.

    Args:
        settings: Its settings.
        session: What it works with.
        start: The network after rounding alone.
    """

    path = "inputs distilled from BatchNorm statistics"

    def __init__(self, settings: DistilledQuantization, session: Session, start: QuantizationPlan) -> None:
        super().__init__(session)
        self.settings = settings
        self.start = start
        self.space = space_of(session)
        self.normalized = NormalizedNetwork(session)
        self.batch = batch_of(session, settings.batch)
        self.pool: Tensor | None = None
        self._finished: list[Tensor] = []
        self._held_out: Tensor | None = None
        self._answers: dict[str, Tensor] = {}
        self._random = session.random("distilled inputs")
        self._order = session.random("order of distilled inputs")
        self._take_student(start)
        self._begin_batch()

    @property
    def phase(self) -> str:
        """Whether inputs are distilled, or Q is tuned on them."""
        return "synthesis" if self.pool is None else "tuning"

    def turn(self, fraction: float) -> None:
        """Begin to tune when inputs have had their share of the budget."""
        if self.pool is None and fraction >= self.settings.synthesis and (self._finished or self.iteration):
            self.begin_tuning()

    def step(self, fraction: float) -> Losses:
        """Take a step on the batch that is being distilled, or one of Q."""
        if self.pool is None:
            return self.distill()
        share = (fraction - self.settings.synthesis) / max(1.0 - self.settings.synthesis, 1e-9)
        set_rate(self.optimizer, self.rate * self.settings.rate * cosine(share))
        return self.tune()

    def distill(self) -> Losses:
        """Take one step of Adam on a batch of inputs; begin another batch after the last of them."""
        progress = self.iteration / self.settings.iterations
        set_rate(self.input_optimizer, self.rate * self.settings.distillation_rate * cosine(progress))
        _, statistics = self.normalized.run(self.x)
        own = standard_loss(self.x)
        self.input_optimizer.zero_grad()
        torch.autograd.backward(statistics + own, inputs=[self.x])
        self.input_optimizer.step()
        with torch.no_grad():
            self.x.copy_(self.space.clamp(self.x))
        self.iteration += 1
        if self.iteration == self.settings.iterations:
            self._finished.append(self.x.detach().clone())
            self._begin_batch()
        return {"statistics": statistics.detach(), "input": own.detach()}

    def begin_tuning(self) -> None:
        """Hold out the first batch, measure ranges on all the others, and take Q with those.

        A batch that is not half done is left out if there are others. Where there is but one, half of it is held out.
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
        """Take one step of Q towards the answers of P."""
        assert self.pool is not None
        chosen = torch.randint(len(self.pool), (min(self.batch, len(self.pool)),), generator=self._order)
        chosen = chosen.to(self.session.device)
        given = self.session.run(self.student, self.session.arranged(self.pool[chosen]))
        wanted = {name: values[chosen] for name, values in self._answers.items()}
        divergence = output_divergence(self.session.heads, wanted, given)
        self.optimizer.zero_grad()
        torch.autograd.backward(divergence)
        limit_gradient(self.student.values(), self.settings.clip)
        self.optimizer.step()
        return {"kl" if self.session.heads.logits else "outputs": divergence.detach()}

    def conclude(self) -> None:
        """Take Q with the ranges of what is distilled, if it is not tuned yet."""
        if self.pool is None and (self._finished or self.iteration):
            self.begin_tuning()

    def held_out(self) -> Tensor | None:
        """Return the first batch that was distilled, from when Q is tuned."""
        return self._held_out

    def synthetic(self) -> Tensor | None:
        """Return everything that was distilled."""
        if self.pool is None or self._held_out is None:
            return torch.cat(self._finished).cpu() if self._finished else None
        return torch.cat([self._held_out, self.pool]).cpu()

    def state(self) -> State:
        """Return inputs, Q, optimizers, counts and sources of random numbers."""
        return {
            "x": self.x.detach(),
            "input_optimizer": self.input_optimizer.state_dict(),
            "iteration": self.iteration,
            "finished": self._finished,
            "held_out": self._held_out,
            "pool": self.pool,
            "student": self.student.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": self._random.get_state(),
            "order": self._order.get_state(),
        }

    def restore(self, state: State) -> None:
        """Go on from what :meth:`state` returned."""
        self._take_batch(state["x"])
        self.input_optimizer.load_state_dict(state["input_optimizer"])
        self.iteration = state["iteration"]
        self._finished = [self.session.arranged(batch) for batch in state["finished"]]
        self.pool = self._held_out = None
        self._answers = {}
        if state["pool"] is not None:
            self._take_pool(state["held_out"], state["pool"])
        self._take_student(self.start)
        self.student.load_state_dict(state["student"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._random.set_state(state["random"])
        self._order.set_state(state["order"])

    def _begin_batch(self) -> None:
        self._take_batch(torch.randn(self.batch, *self.space.shape, generator=self._random))
        self.iteration = 0

    def _take_batch(self, x: Tensor) -> None:
        self.x = self.session.arranged(x).clone().requires_grad_(True)
        self.input_optimizer = torch.optim.Adam([self.x], lr=self.settings.distillation_rate)

    def _take_pool(self, held_out: Tensor, pool: Tensor) -> None:
        self._held_out, self.pool = self.session.arranged(held_out), self.session.arranged(pool)
        parts = [self.session.ask_teacher(part) for part in torch.split(self.pool, self.batch)]
        self._answers = {name: torch.cat([part[name] for part in parts]) for name in self.session.heads.tensors}

    def _take_student(self, plan: QuantizationPlan) -> None:
        self.student = self.session.student(plan, learned_steps=False)
        self.optimizer = torch.optim.SGD(
            self.student.values(),
            lr=self.settings.rate,
            momentum=self.settings.momentum,
            weight_decay=self.settings.weight_decay,
        )

    def _with_ranges(self, inputs: Tensor) -> QuantizationPlan:
        """Return the plan it began with, each activation's range that of the float network on distilled inputs."""
        name = self.space.spec.name
        size = self.space.fixed or self.batch
        whole = torch.arange(len(inputs) + -len(inputs) % size) % len(inputs)
        batches = [{name: part.numpy()} for part in torch.split(inputs.cpu().contiguous()[whole], size)]
        measured = replace(self.session.prepared, model=self.start.model, batches=batches, source=Source.CALIBRATION)
        statistics = activation_statistics(measured, self.start.sites)
        activations = min_max_quantizers(self.start.sites, statistics, self.session.request.activation_bits)
        return replace(self.start, activations=activations)
