"""Base class of GDFQ and ZAQ: a generator and a quantized network, trained alternately."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from faceter.graphs.quantization_plan import QuantizationPlan
from workers.jobs.checkpoints import State
from workers.quantization.tuning.inputs.generator import seeded_generator
from workers.quantization.tuning.inputs.session_inputs import batch_size_for, input_space_of
from workers.quantization.tuning.inputs.space import InputSpace
from workers.quantization.tuning.session import TuningSession
from workers.quantization.tuning.trainer import TuningTrainer

_HELD_OUT = 512
_HELD_OUT_VALUES = 2**24
_SYNTHETIC = 1024
_SYNTHETIC_VALUES = 2**26


class GeneratorTrainerSettings(Protocol):
    """Common settings of methods with a generator."""

    @property
    def batch(self) -> int:
        """Batch size for a small network, see :func:`batch_size_for`."""

    @property
    def latent(self) -> int:
        """Size of z."""

    @property
    def width(self) -> int:
        """Channels of the generator's first convolutions."""

    @property
    def generator_learning_rate(self) -> float:
        """Learning rate of G (Adam)."""

    @property
    def learning_rate(self) -> float:
        """Learning rate of Q (SGD)."""

    @property
    def momentum(self) -> float:
        """Momentum of Q."""

    @property
    def weight_decay(self) -> float:
        """Weight decay of Q."""

    @property
    def held_out_at(self) -> Sequence[float]:
        """Fractions of the budget at which generated inputs are added to the hold-out set."""


class GeneratorTrainer(TuningTrainer):
    """A generator G and the quantized network Q with their optimizers, and a hold-out set of generated inputs.

    At the fractions ``held_out_at`` of the budget the current G generates inputs for the hold-out set, from a separate
    noise stream.

    Attributes:
        generator: G.
        generator_optimizer: Adam on G.
        optimizer: SGD on Q.
        steps: Steps of both.
        generator_steps: Steps of G.

    Args:
        start: The rounded network.
        classes: Number of classes of a conditional generator; None for noise alone.
        nesterov: Whether Q uses Nesterov momentum.
    """

    def __init__(
        self,
        session: TuningSession,
        settings: GeneratorTrainerSettings,
        start: QuantizationPlan,
        *,
        classes: int | None = None,
        nesterov: bool = False,
    ) -> None:
        super().__init__(session)
        self.student = session.student(start, learned_steps=False)
        seed = session.random("generator").initial_seed()
        self.generator = session.place(
            seeded_generator(
                seed, input_space_of(session), latent=settings.latent, width=settings.width, classes=classes
            )
        )
        self.generator_optimizer = torch.optim.Adam(self.generator.parameters(), lr=settings.generator_learning_rate)
        self.optimizer = torch.optim.SGD(
            self.student.weights_and_biases(),
            lr=settings.learning_rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            nesterov=nesterov,
        )
        self.steps = 0
        self.generator_steps = 0
        self.batch = batch_size_for(session, settings.batch)
        self._held_out_at = settings.held_out_at
        self._times_held_out = 0
        self._held_out: Tensor | None = None
        self._random = session.random("generated inputs")
        self._held_out_random = session.random("generated inputs held out")

    def noise(self, count: int, source: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """Return noise z, [count, latent], and random labels, int64 [count], or None if G is not conditional."""
        z = torch.randn(count, self.generator.latent, generator=source).to(self.session.device)
        embedding = self.generator.embedding
        if embedding is None:
            return z, None
        labels = torch.randint(embedding.num_embeddings, (count,), generator=source)
        return z, labels.to(self.session.device)

    def generate(self, count: int | None = None) -> tuple[Tensor, Tensor | None]:
        """Return generated inputs, [count, …], with gradients for G, and their labels or None."""
        return self._generate(count or self.batch, self._random)

    def hold_out(self, fraction: float) -> None:
        """Extend the hold-out set if the next of ``held_out_at`` is reached."""
        while self._times_held_out < len(self._held_out_at) and fraction >= self._held_out_at[self._times_held_out]:
            self._times_held_out += 1
            times = len(self._held_out_at)
            count = _sample_count(self.generator.space, _HELD_OUT // times, _HELD_OUT_VALUES // times)
            sample = self._sample(count, self._held_out_random)
            batches = [sample] if self._held_out is None else [self._held_out, sample]
            self._held_out = self.session.to_device(torch.cat(batches))

    def held_out(self) -> Tensor | None:
        """Return the hold-out set; None before the first of ``held_out_at``."""
        return self._held_out

    def synthetic(self) -> Tensor | None:
        """Return up to 1,024 inputs of the current G from a fixed noise; None before its first step."""
        if not self.generator_steps:
            return None
        source = self.session.random("generated inputs shown")
        return self._sample(_sample_count(self.generator.space, _SYNTHETIC, _SYNTHETIC_VALUES), source).cpu()

    def state(self) -> State:
        """Return the state for a checkpoint."""
        return {
            "student": self.student.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.state_dict(),
            "generator_optimizer": self.generator_optimizer.state_dict(),
            "steps": self.steps,
            "generator_steps": self.generator_steps,
            "times_held_out": self._times_held_out,
            "held_out": self._held_out,
            "random": self._random.get_state(),
            "held_out_random": self._held_out_random.get_state(),
        }

    def restore(self, state: State) -> None:
        """Restore what :meth:`state` returned."""
        self.student.load_state_dict(state["student"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.load_state_dict(state["generator"])
        self.generator_optimizer.load_state_dict(state["generator_optimizer"])
        self.steps, self.generator_steps = state["steps"], state["generator_steps"]
        self._times_held_out = state["times_held_out"]
        self._held_out = None if state["held_out"] is None else self.session.to_device(state["held_out"])
        self._random.set_state(state["random"])
        self._held_out_random.set_state(state["held_out_random"])

    def _generate(self, count: int, source: torch.Generator) -> tuple[Tensor, Tensor | None]:
        z, labels = self.noise(count, source)
        with self.session.precision.autocast():
            inputs = self.generator(z, labels)
        return self.session.to_device(inputs), labels

    @torch.no_grad()
    def _sample(self, count: int, source: torch.Generator) -> Tensor:
        """Return inputs without gradients, in batches of the training size, since G normalizes over its batch."""
        batches = [self._generate(self.batch, source)[0] for _ in range(math.ceil(count / self.batch))]
        return self.generator.space.clamp(torch.cat(batches)[:count])


def _sample_count(space: InputSpace, max_samples: int, max_values: int) -> int:
    """Return the number of inputs within both limits, at least 1."""
    return max(1, min(max_samples, max_values // math.prod(space.shape)))
