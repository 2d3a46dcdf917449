"""Input synthesis: batches of inputs optimized by gradient descent on the float network.

References:
    Cai et al., "ZeroQ: A Novel Zero Shot Quantization Framework", CVPR 2020, arXiv 2001.00281 (BatchNorm statistics).
    Baradad et al., "Learning to See by Looking at Noise", NeurIPS 2021, arXiv 2106.05963 (procedural images).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from workers.jobs.checkpoints import State
from workers.quantization.tuning.channel_moments import channel_moments
from workers.quantization.tuning.inputs.dead_leaves import dead_leaves
from workers.quantization.tuning.inputs.session_inputs import batch_size_for, class_count
from workers.quantization.tuning.inputs.space import InputSpace
from workers.quantization.tuning.schedules import cosine_decay, set_learning_rate
from workers.quantization.tuning.session import TuningSession

_TINY = 1e-8
_CONSTANT_BELOW = 0.01


@dataclass(frozen=True)
class SynthesisSettings:
    """Settings of synthesis.

    Args:
        batch: Batch size for a small network, see :func:`batch_size_for`.
        iterations: Adam steps per batch.
        learning_rate: Adam's learning rate, in standard deviations of the input.
        class_weight: Weight of the class loss, for classifiers.
        carry_over: Weight of the previous batch's inputs in the initialization of the next.
        max_bytes: Memory limit of the finished inputs; beyond it the oldest batch is dropped.
    """

    batch: int = 256
    iterations: int = 30
    learning_rate: float = 0.1
    class_weight: float = 0.03
    carry_over: float = 0.5
    max_bytes: int = 2**29


class InputSynthesis:
    """Optimizes batches of inputs, one at a time, each initialized with procedural images or noise.

    - With BatchNorm statistics (β, γ after folding): mean and deviation of every channel are fitted to them, in units
      of γ, so that all layers count alike.
    - For classifiers: KL divergence from random soft labels, 1 − λ for one class and λ ≤ ½ for another. Inputs of high
      confidence say little about the decision boundaries, and real inputs are not of such confidence.
    - Inputs of integers, such as token ids, are random and used unchanged.
    - With neither, procedural images, or noise if inputs are no images, are used unchanged. Adversarial inputs, on
      which the rounded network disagrees, teach less than those they start from.

    Attributes:
        finished: The optimized batches, oldest first, each [N, …].
    """

    def __init__(self, session: TuningSession, space: InputSpace, settings: SynthesisSettings) -> None:
        self.session = session
        self.space = space
        self.settings = settings
        self.finished: list[Tensor] = []
        self._random = session.random("synthesis")
        self._statistics = {
            name: (
                torch.from_numpy(np.asarray(item.beta)).to(session.device),
                torch.from_numpy(np.asarray(item.gamma)).clamp_min(_TINY).to(session.device),
                torch.from_numpy(np.asarray(item.gamma) > _CONSTANT_BELOW * np.median(item.gamma)).to(session.device),
            )
            for name, item in session.prepared.statistics.items()
        }
        self._classes = class_count(session)
        self._optimizes = space.continuous and bool(self._statistics or self._classes)
        self._scale = 1.0 if space.low is None or space.high is None else float((space.high - space.low).mean()) / 4
        self._iteration = 0
        self._begin_batch()

    @property
    def path(self) -> str:
        """Source of the inputs, for the report."""
        if not self.space.continuous:
            return "random inputs, since integers cannot be optimized by gradient"
        if self._statistics:
            return "inputs distilled from BatchNorm statistics"
        unfitted = "procedural images" if self.space.images else "noise"
        source = "inputs made for random classes" if self._classes else unfitted
        return f"{source}, the model holding no BatchNorm statistics"

    @property
    def is_full(self) -> bool:
        """Whether the finished batches reach the memory limit."""
        return len(self.finished) * self._x.nbytes >= self.settings.max_bytes

    def step(self, rate_factor: float) -> dict[str, Tensor]:
        """Take one step on the current batch and return its losses by name.

        Args:
            rate_factor: Factor on the learning rate.
        """
        losses = self._optimize(rate_factor) if self._optimizes else {}
        self._iteration += 1
        if self._iteration >= self.settings.iterations or not losses:
            if self.is_full:
                del self.finished[0]
            self.finished.append(self._x.detach().clone())
            self._begin_batch()
        return losses

    def _optimize(self, rate_factor: float) -> dict[str, Tensor]:
        schedule = 0.05 + 0.95 * cosine_decay(self._iteration / self.settings.iterations)
        set_learning_rate(self._optimizer, rate_factor * self.settings.learning_rate * self._scale * schedule)
        x = self.session.augment(self._x, self._random, mixup=0.0)
        losses = self._losses(self.session.to_device(x))
        total = torch.stack([losses[name] * factor for name, factor in self._factors().items() if name in losses]).sum()
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(total)
        self._optimizer.step()
        with torch.no_grad():
            self._x.copy_(self.space.clamp(self._x))
        return {name: value.detach() for name, value in losses.items()}

    def all_inputs(self) -> Tensor:
        """Return all finished inputs, [N, …]; the current batch if none is finished."""
        return torch.cat(self.finished) if self.finished else self._x.detach().clone()

    def _factors(self) -> dict[str, float]:
        return {
            "statistics": 1.0,
            "classes": self.settings.class_weight,
        }

    def _losses(self, x: Tensor) -> dict[str, Tensor]:
        heads = self.session.heads
        teacher = self.session.run(self.session.teacher, x, list(self._statistics))
        losses = {}
        if self._statistics:
            losses["statistics"] = self._batch_norm_distance(teacher)
        if self._classes:
            scores = teacher[str(heads.logits)].float()
            targets = self._targets(self._classes)
            losses["classes"] = functional.kl_div(scores.log_softmax(-1), targets, reduction="batchmean")
        return losses

    def _targets(self, classes: int) -> Tensor:
        """Return soft labels, [N, classes]: 1 − λ for one class, λ for another; λ = u² / 2, u uniform over [0, 1]."""
        first, other = self._labels % classes, 1 + self._others % max(classes - 1, 1)
        rows = torch.arange(len(first), device=first.device)
        targets = torch.zeros(len(first), classes, device=first.device)
        targets[rows, first] = 1 - self._lambdas
        targets[rows, (first + other) % classes] += self._lambdas
        return targets

    def _batch_norm_distance(self, tensors: dict[str, Tensor]) -> Tensor:
        """Return the mean over channels and layers of ((μ − β) / γ)² + (σ / γ − 1)².

        Nearly constant channels (γ below 1 % of the layer's median) are left out.
        """
        layers = []
        for name, (beta, gamma, alive) in self._statistics.items():
            mean, variance = channel_moments(tensors[name])
            deviation = variance.add(1e-8).sqrt()
            distances = ((mean - beta) / gamma).square() + (deviation / gamma - 1).square()
            layers.append(torch.where(alive, distances, 0.0).sum() / alive.sum().clamp_min(1))
        return torch.stack(layers).mean()

    def _begin_batch(self) -> None:
        """Initialize the next batch."""
        count = len(self.finished[-1]) if self.finished else batch_size_for(self.session, self.settings.batch)
        seed = int(torch.randint(0, 2**31, (), generator=self._random))
        x = initial_inputs(self.space, count, seed).to(self.session.device)
        if self.finished and (self._optimizes or self.space.images):
            others = torch.randperm(count, generator=self._random).to(x.device)
            previous = self.session.augment(self.finished[-1][others], self._random, mixup=0.0)
            x = (1 - self.settings.carry_over) * x + self.settings.carry_over * previous
        self._x = self.session.to_device(x).requires_grad_(True)
        self._labels, self._others = torch.randint(0, 2**31, (2, count), generator=self._random).to(x.device)
        self._lambdas = torch.rand(count, generator=self._random).square().mul(0.5).to(x.device)
        self._optimizer = self._adam()
        self._iteration = 0

    def _adam(self) -> torch.optim.Adam:
        return torch.optim.Adam([self._x], lr=self.settings.learning_rate, betas=(0.5, 0.9), fused=True)

    def state(self) -> State:
        """Return the state for a checkpoint."""
        return {
            "finished": list(self.finished),
            "x": self._x.detach(),
            "labels": self._labels,
            "others": self._others,
            "lambdas": self._lambdas,
            "optimizer": self._optimizer.state_dict(),
            "random": self._random.get_state(),
            "iteration": self._iteration,
        }

    def restore(self, state: State) -> None:
        """Restore what :meth:`state` returned."""
        device = self.session.device
        self.finished = [x.to(device) for x in state["finished"]]
        self._x = self.session.to_device(state["x"].clone()).requires_grad_(True)
        self._labels, self._others, self._lambdas = (state[name].to(device) for name in ("labels", "others", "lambdas"))
        self._optimizer = self._adam()
        self._optimizer.load_state_dict(state["optimizer"])
        self._random.set_state(state["random"])
        self._iteration = state["iteration"]


def initial_inputs(space: InputSpace, count: int, seed: int) -> Tensor:
    """Return initial inputs, [count, …]: half dead-leaves images, half 1/f noise; N(0, 1) if inputs are no images."""
    if not space.images:
        return space.noise(count, seed).float()
    half = count // 2
    channels, height, width = space.shape
    images = torch.from_numpy(dead_leaves(count - half, channels, height, width, np.random.default_rng(seed)))
    images = space.from_unit(images.to(space.low.device if space.low is not None else "cpu"))
    return torch.cat([images, space.noise(half, seed).to(images.device)]) if half else images
