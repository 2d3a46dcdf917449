"""What methods share that tune a network on what a generator makes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from faceter.graphs.qdq import QuantizationPlan
from workers.jobs.checkpoints import State
from workers.quantization.tuning.batches import batch_of, space_of
from workers.quantization.tuning.generators import seeded_generator
from workers.quantization.tuning.inputs import InputSpace
from workers.quantization.tuning.loop import Trainer
from workers.quantization.tuning.session import Session

_HELD_OUT = 512
_HELD_OUT_VALUES = 2**24
_SYNTHETIC = 1024
_SYNTHETIC_VALUES = 2**26


class GeneratorSettings(Protocol):
    """What the settings of every method with a generator have."""

    @property
    def batch(self) -> int:
        """Inputs in a batch, for a small network; see :func:`batch_of`."""

    @property
    def latent(self) -> int:
        """Size of z."""

    @property
    def width(self) -> int:
        """Channels of the generator's first convolutions."""

    @property
    def generator_rate(self) -> float:
        """Learning rate of G (Adam)."""

    @property
    def rate(self) -> float:
        """Learning rate of Q (SGD)."""

    @property
    def momentum(self) -> float:
        """Its momentum."""

    @property
    def weight_decay(self) -> float:
        """Its weight decay."""

    @property
    def held_out_at(self) -> Sequence[float]:
        """The shares of the budget at which inputs are held out."""


class GeneratorTrainer(Trainer):
    """A generator G and the quantized network Q, each with its optimizer, and the inputs that nothing is tuned on.

    At a few moments of the budget inputs are taken from G as it then stands, with noise of their own, and kept.

    Attributes:
        generator: G.
        generator_optimizer: Its optimizer.
        optimizer: That of Q.
        steps: Steps taken.
        generator_steps: Those of them that were G's.

    Args:
        session: What it works with.
        settings: The method's.
        start: The network after rounding alone.
        classes: Classes that inputs are made for; None where they are made from noise alone.
        nesterov: Whether Q's momentum is Nesterov's.
    """

    def __init__(
        self,
        session: Session,
        settings: GeneratorSettings,
        start: QuantizationPlan,
        *,
        classes: int | None = None,
        nesterov: bool = False,
    ) -> None:
        super().__init__(session)
        self.student = session.student(start, learned_steps=False)
        seed = session.random("generator").initial_seed()
        self.generator = session.place(
            seeded_generator(seed, space_of(session), latent=settings.latent, width=settings.width, classes=classes)
        )
        self.generator_optimizer = torch.optim.Adam(self.generator.parameters(), lr=settings.generator_rate)
        self.optimizer = torch.optim.SGD(
            self.student.values(),
            lr=settings.rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            nesterov=nesterov,
        )
        self.steps = 0
        self.generator_steps = 0
        self.batch = batch_of(session, settings.batch)
        self._moments = settings.held_out_at
        self._passed = 0
        self._held_out: Tensor | None = None
        self._random = session.random("generated inputs")
        self._apart = session.random("generated inputs held out")

    def noise(self, count: int, source: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """Return noise z, [count, latent], and labels [count] where the generator is conditional."""
        z = torch.randn(count, self.generator.latent, generator=source).to(self.session.device)
        embedding = self.generator.embedding
        if embedding is None:
            return z, None
        labels = torch.randint(embedding.num_embeddings, (count,), generator=source)
        return z, labels.to(self.session.device)

    def generate(self, count: int | None = None) -> tuple[Tensor, Tensor | None]:
        """Return inputs that G makes now, with gradients for G, and their labels if it is conditional."""
        return self._made(count or self.batch, self._random)

    def hold_out(self, fraction: float) -> None:
        """Keep inputs of G for :meth:`held_out` if another of the moments is reached."""
        while self._passed < len(self._moments) and fraction >= self._moments[self._passed]:
            self._passed += 1
            shares = len(self._moments)
            count = _bounded(self.generator.space, _HELD_OUT // shares, _HELD_OUT_VALUES // shares)
            made = self._sample(count, self._apart)
            parts = [made] if self._held_out is None else [self._held_out, made]
            self._held_out = self.session.arranged(torch.cat(parts))

    def held_out(self) -> Tensor | None:
        """Return what was kept of G's inputs so far."""
        return self._held_out

    def synthetic(self) -> Tensor | None:
        """Return up to 1,024 inputs that G makes now, the same ones at every call."""
        if not self.generator_steps:
            return None
        source = self.session.random("generated inputs shown")
        return self._sample(_bounded(self.generator.space, _SYNTHETIC, _SYNTHETIC_VALUES), source).cpu()

    def state(self) -> State:
        """Return networks, optimizers, counts, sources of random numbers, and the inputs held out."""
        return {
            "student": self.student.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.state_dict(),
            "generator_optimizer": self.generator_optimizer.state_dict(),
            "steps": self.steps,
            "generator_steps": self.generator_steps,
            "passed": self._passed,
            "held_out": self._held_out,
            "random": self._random.get_state(),
            "apart": self._apart.get_state(),
        }

    def restore(self, state: State) -> None:
        """Go on from what :meth:`state` returned."""
        self.student.load_state_dict(state["student"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.load_state_dict(state["generator"])
        self.generator_optimizer.load_state_dict(state["generator_optimizer"])
        self.steps, self.generator_steps = state["steps"], state["generator_steps"]
        self._passed = state["passed"]
        self._held_out = None if state["held_out"] is None else self.session.arranged(state["held_out"])
        self._random.set_state(state["random"])
        self._apart.set_state(state["apart"])

    def _made(self, count: int, source: torch.Generator) -> tuple[Tensor, Tensor | None]:
        z, labels = self.noise(count, source)
        with self.session.precision.autocast():
            made = self.generator(z, labels)
        return self.session.arranged(made), labels

    @torch.no_grad()
    def _sample(self, count: int, source: torch.Generator) -> Tensor:
        """Return inputs without gradients, made in batches as in training, since G normalizes over its batch."""
        parts = [self._made(self.batch, source)[0] for _ in range(math.ceil(count / self.batch))]
        return self.generator.space.clamp(torch.cat(parts)[:count])


def _bounded(space: InputSpace, most: int, values: int) -> int:
    """Return how many inputs to make: as many as are wanted, fewer where they would hold more values than that."""
    return max(1, min(most, values // math.prod(space.shape)))
