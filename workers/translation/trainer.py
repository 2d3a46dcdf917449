"""What the trainings of translators have in common: settings, networks, optimizers, and a state to go on from."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.translators import (
    LEAST_IMAGE_SIZE,
    GeneratorKind,
    discriminator_layers_at,
    residual_blocks_at,
    unet_depth_at,
)
from workers.jobs.checkpoints import State, frozen
from workers.translation.acceleration import Accelerator
from workers.translation.batches import Batches
from workers.translation.networks import PatchDiscriminator, ResnetGenerator, UnetGenerator, initialize
from workers.translation.schedule import rate_at

Direction = Literal["a2b", "b2a"]
"""From which domain to which."""

Generator = ResnetGenerator | UnetGenerator
"""A network that translates images."""

_BETAS = (0.5, 0.999)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What both methods are told; the defaults are those of the papers.

    Args:
        image_size: Sides of the images trained on, pixels: at least 16, a multiple of 4, for a U-Net of 32.
        generator: What generators look like.
        channels: Channels of the first layer of all networks.
        blocks: Residual blocks of a ResNet generator; nine from 256² on and six below if not given, as published.
        learning_rate: Adam's rate, in the first half of training.
        seed: Everything random follows from it.

    Raises:
        FaceterError: ``INVALID_REQUEST`` if the generator cannot be of that size.
    """

    image_size: int = 256
    generator: Literal["resnet", "unet"] = "resnet"
    channels: int = 64
    blocks: int | None = None
    learning_rate: float = 2e-4
    seed: int = 0

    def __post_init__(self) -> None:
        multiple = GeneratorKind(self.generator).multiple
        if self.image_size < LEAST_IMAGE_SIZE or self.image_size % multiple:
            raise FaceterError(
                ProblemKind.INVALID_REQUEST,
                f"A {self.generator} generator cannot be trained at an image_size of {self.image_size}. Take a "
                f"multiple of {multiple} that is at least {max(LEAST_IMAGE_SIZE, multiple)}.",
                field="image_size",
            )

    def new_generator(self) -> Generator:
        """Return a generator with weights yet to be drawn.

        A U-Net is as deep as its size allows, eight levels at most: at 256² they end at a single place.
        """
        if self.generator == "unet":
            return UnetGenerator(self.channels, unet_depth_at(self.image_size))
        return ResnetGenerator(
            self.channels, residual_blocks_at(self.image_size) if self.blocks is None else self.blocks
        )

    def new_discriminator(self, inputs: int) -> PatchDiscriminator:
        """Return a discriminator with weights yet to be drawn, of three layers; of two below 24², too small for three.

        Args:
            inputs: Channels of what it judges.
        """
        return PatchDiscriminator(inputs, self.channels, discriminator_layers_at(self.image_size))


N = TypeVar("N", bound=nn.Module)


class Trainer(ABC):
    """A method at work: what it has learned so far, and how it takes one more step.

    Args:
        settings: What it is told.
        data: The images, of the settings' ``image_size``.
        accelerator: How to run networks on this host.

    Attributes:
        rate: Factor on the learning rate, beside the schedule's.
        networks: All that is learned, by name.
        optimizers: Adam of the generators and that of the discriminators.
        data: The images.
        accelerator: How networks are run.
    """

    def __init__(self, settings: Settings, data: Batches, accelerator: Accelerator) -> None:
        if data.image_size != settings.image_size:
            raise ValueError(f"images of {data.image_size} pixels for a training at {settings.image_size}")
        self.rate = 1.0
        self.data = data
        self.accelerator = accelerator
        self.networks: dict[str, nn.Module] = {}
        self.optimizers: dict[str, torch.optim.Adam] = {}
        self._settings = settings
        self._noise = random_source(settings.seed, "dropout", accelerator.device).get_state()

    @abstractmethod
    def step(self, share_done: float) -> Mapping[str, Tensor]:
        """Take one step.

        Args:
            share_done: The share of training that is done, 0 to 1, for the learning rate.

        Returns:
            Every loss of the step by name, float32 [] each, on the device, before it is weighted.
        """

    @abstractmethod
    def generators(self) -> dict[Direction, Generator]:
        """Return the generators as they stand, by direction.

        They are those that learn: whoever runs them in evaluation mode need not bring them back, a step does.
        """

    @property
    @abstractmethod
    def parameters(self) -> dict[str, int]:
        """How many numbers a ``generator`` and a ``discriminator`` have."""

    def state(self) -> State:
        """Return everything that a later step depends on: tensors, numbers and text in dicts and lists, not copied."""
        return {
            "networks": {name: dict(network.state_dict()) for name, network in self.networks.items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "noise": self._noise,
            "data": self.data.state(),
            "rate": self.rate,
        }

    def restore(self, state: State) -> None:
        """Go on from what :meth:`state` returned; the state is not changed by later steps."""
        self.go_on_from(state)
        self._noise = state["noise"].clone()
        self.data.restore(state["data"])
        self.rate = state["rate"]

    def go_on_from(self, state: State) -> None:
        """Take networks and optimizers from the state of another training, and nothing else: a new training with them.

        Raises:
            FaceterError: ``INVALID_REQUEST`` if its networks are of another kind or size.
        """
        try:
            for name, network in self.networks.items():
                network.load_state_dict(state["networks"][name])
        except (KeyError, RuntimeError) as error:
            raise FaceterError(
                ProblemKind.INVALID_REQUEST,
                "The networks of the earlier training are of another kind or size than those asked for. Ask for the "
                "same method, generator, channels and blocks, or begin anew.",
            ) from error
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(frozen(state["optimizers"][name]))

    def _new(self, name: str, network: N) -> N:
        """Draw the weights of a network and take it in."""
        initialize(network, random_source(self._settings.seed, name))
        generates = isinstance(network, ResnetGenerator | UnetGenerator)
        self.networks[name] = self.accelerator.place(network, generates=generates)
        return network

    def _adam(self, name: str, networks: Iterable[nn.Module]) -> torch.optim.Adam:
        parameters = [parameter for network in networks for parameter in network.parameters()]
        self.optimizers[name] = torch.optim.Adam(parameters, lr=self._settings.learning_rate, betas=_BETAS, fused=True)
        return self.optimizers[name]

    def _begin(self, share_done: float) -> tuple[Tensor, Tensor]:
        """Set learning rates, bring networks into training mode and return a batch of A and one of B."""
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = self._settings.learning_rate * self.rate * rate_at(share_done)
        for network in self.networks.values():
            if not network.training:
                network.train()
        first, second = self.data.take()
        return self.accelerator.arranged(first), self.accelerator.arranged(second)

    def _blank(self) -> Tensor:
        """Return a batch of grey images, to try networks out with."""
        sides = (self.data.batch_size, 3, self._settings.image_size, self._settings.image_size)
        return self.accelerator.arranged(torch.zeros(sides))

    @contextmanager
    def _dropping(self, *, trial: bool = False) -> Iterator[None]:
        """Run the block with dropout's own random state, which goes on from step to step unless it is a trial.

        Dropout draws from torch's global generator; what other code draws from it is not touched.
        """
        device = self.accelerator.device
        on_gpu = device.type == "cuda"
        with torch.random.fork_rng(devices=[device] if on_gpu else []):
            if on_gpu:
                torch.cuda.set_rng_state(self._noise, device)
            else:
                torch.set_rng_state(self._noise)
            yield
            if not trial:
                self._noise = torch.cuda.get_rng_state(device) if on_gpu else torch.get_rng_state()


def random_source(seed: int, name: str, device: torch.device | None = None) -> torch.Generator:
    """Return a source of random numbers, seeded by a seed and what it is for.

    Args:
        seed: The training's.
        name: What for; different names give independent numbers.
        device: Where it makes them, the CPU if not given.
    """
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return torch.Generator(device or "cpu").manual_seed(int.from_bytes(digest[:7], "big"))


def count_parameters(network: nn.Module) -> int:
    """Return how many numbers a network has."""
    return sum(parameter.numel() for parameter in network.parameters())
