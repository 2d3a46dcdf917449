"""What both translation methods share: settings, networks, optimizers, and their state."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.translation_methods import GeneratorKind
from faceter.contracts.translators import LEAST_IMAGE_SIZE, discriminator_layers_at, residual_blocks_at, unet_depth_at
from workers.jobs.checkpoints import State, frozen
from workers.training import trainer
from workers.translation.acceleration import Accelerator
from workers.translation.batches import BatchLoader
from workers.translation.networks import PatchDiscriminator, ResnetGenerator, UnetGenerator, initialize
from workers.translation.schedule import rate_factor

Direction = Literal["a2b", "b2a"]
"""From which domain to which."""

Generator = ResnetGenerator | UnetGenerator
"""A network that translates images."""

_BETAS = (0.5, 0.999)


@dataclass(frozen=True, kw_only=True)
class TranslatorSettings:
    """Settings of both methods; the defaults are those of the papers.

    Args:
        image_size: Height and width of training images, pixels: at least 16, a multiple of 4, for a U-Net of 32.
        generator: Architecture of the generators.
        channels: Channels of the first layer of all networks.
        blocks: Residual blocks of a ResNet generator; by default nine from 256² on and six below, as published.
        learning_rate: Adam's learning rate, in the first half of training.
        seed: Seeds every source of random numbers.

    Raises:
        FaceterError: ``INVALID_REQUEST`` if the generator does not take images of that size.
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
        """Return a generator whose weights are not initialized.

        A U-Net is as deep as the image size allows, eight levels at most: at 256² the last has one pixel.
        """
        if self.generator == "unet":
            return UnetGenerator(self.channels, unet_depth_at(self.image_size))
        return ResnetGenerator(
            self.channels, residual_blocks_at(self.image_size) if self.blocks is None else self.blocks
        )

    def new_discriminator(self, inputs: int) -> PatchDiscriminator:
        """Return a discriminator whose weights are not initialized: of three layers, below 24² of two.

        Args:
            inputs: Channels of its input.
        """
        return PatchDiscriminator(inputs, self.channels, discriminator_layers_at(self.image_size))


N = TypeVar("N", bound=nn.Module)


class TranslatorTrainer(trainer.Trainer):
    """Generators and discriminators with their optimizers.

    Args:
        settings: Those of the method.
        data: Training images, of the settings' ``image_size``.
        accelerator: Runs the networks.

    Attributes:
        replicas: The processes that share each batch.
        networks: Generators and discriminators, by name.
        optimizers: Adam of the generators and Adam of the discriminators, by name.
    """

    def __init__(self, settings: TranslatorSettings, data: BatchLoader, accelerator: Accelerator) -> None:
        if data.image_size != settings.image_size:
            raise ValueError(f"images of {data.image_size} pixels for a training at {settings.image_size}")
        super().__init__()
        self.data = data
        self.replicas = data.replicas
        self.accelerator = accelerator
        self.networks: dict[str, nn.Module] = {}
        self.optimizers: dict[str, torch.optim.Adam] = {}
        self._settings = settings
        self._dropout_state = random_source(settings.seed, "dropout", accelerator.device).get_state()

    @abstractmethod
    def step(self, fraction: float) -> Mapping[str, Tensor]:
        """Take one step.

        Args:
            fraction: Used fraction of the budget, 0 to 1, for the learning rate.

        Returns:
            Every loss of the step by name, float32 [] each, on the device, before it is weighted.
        """

    @abstractmethod
    def generators(self) -> dict[Direction, Generator]:
        """Return the generators by direction, not copied; a step brings them back into training mode."""

    @property
    @abstractmethod
    def parameters(self) -> dict[str, int]:
        """Number of parameters of a ``generator`` and of a ``discriminator``."""

    def state(self) -> State:
        """Return everything that a later step depends on, not copied."""
        return {
            "networks": {name: dict(network.state_dict()) for name, network in self.networks.items()},
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "dropout": self._dropout_state,
            "data": self.data.state(),
        }

    def restore(self, state: State) -> None:
        """Go on from what :meth:`state` returned; the state is not changed by later steps."""
        self.load_networks(state)
        self._dropout_state = state["dropout"].clone()
        self.data.restore(state["data"])

    def is_finite(self) -> bool:
        """Return whether all weights are finite."""
        networks = self.networks.values()
        return all(bool(values.isfinite().all()) for network in networks for values in network.parameters())

    def load_networks(self, state: State) -> None:
        """Take over networks and optimizers from the state of another training, and nothing else.

        Raises:
            FaceterError: ``INVALID_REQUEST`` if its networks are of another architecture or size.
        """
        try:
            for name, network in self.networks.items():
                network.load_state_dict(state["networks"][name])
        except (KeyError, RuntimeError) as error:
            raise FaceterError(
                ProblemKind.INVALID_REQUEST,
                "The networks of the earlier training are of another kind or size than those of this request. Use the "
                "same method, generator, channels and blocks, or train without resume_from_id.",
            ) from error
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(frozen(state["optimizers"][name]))

    def _add_network(self, name: str, network: N) -> N:
        """Initialize the weights of a network and add it."""
        initialize(network, random_source(self._settings.seed, name))
        is_generator = isinstance(network, ResnetGenerator | UnetGenerator)
        self.networks[name] = self.accelerator.place(network, is_generator=is_generator)
        return network

    def _adam(self, name: str, networks: Iterable[nn.Module]) -> torch.optim.Adam:
        parameters = [parameter for network in networks for parameter in network.parameters()]
        self.optimizers[name] = torch.optim.Adam(parameters, lr=self._settings.learning_rate, betas=_BETAS, fused=True)
        return self.optimizers[name]

    def _prepare_step(self, fraction: float) -> tuple[Tensor, Tensor]:
        """Set learning rates, set networks to training mode and return a batch of A and one of B."""
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = self._settings.learning_rate * self.rate * rate_factor(fraction)
        for network in self.networks.values():
            if not network.training:
                network.train()
        first, second = self.data.next_batch()
        return self.accelerator.to_device(first), self.accelerator.to_device(second)

    def _blank_batch(self) -> Tensor:
        """Return a batch of grey images, for trial passes."""
        sides = (self.data.share_size, 3, self._settings.image_size, self._settings.image_size)
        return self.accelerator.to_device(torch.zeros(sides))

    @contextmanager
    def _dropout_randomness(self, *, trial: bool = False) -> Iterator[None]:
        """Run the block with the random state of dropout, which advances from step to step unless it is a trial.

        Dropout draws from torch's global generator; its state is put back afterwards.
        """
        device = self.accelerator.device
        on_gpu = device.type == "cuda"
        with torch.random.fork_rng(devices=[device] if on_gpu else []):
            if on_gpu:
                torch.cuda.set_rng_state(self._dropout_state, device)
            else:
                torch.set_rng_state(self._dropout_state)
            shared_state = self._seed_replica()
            yield
            if not trial:
                own_state = torch.cuda.get_rng_state(device) if on_gpu else torch.get_rng_state()
                self._dropout_state = own_state if shared_state is None else shared_state

    def _seed_replica(self) -> Tensor | None:
        """Let each replica draw other numbers in this step; return the state that all go on with, None if alone."""
        if self.replicas.count == 1:
            return None
        device = self.accelerator.device
        seeds = torch.randint(2**62, (self.replicas.count,), device=device)
        state = torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()
        torch.manual_seed(int(seeds[self.replicas.rank]))
        return state

    def _backward(self, loss: Tensor) -> None:
        """Add the gradients of this replica's part of a loss, which is a mean over its share of the batch."""
        torch.autograd.backward(loss if self.replicas.count == 1 else self.replicas.weight(self.data.batch_size) * loss)

    def _update(self, optimizer: torch.optim.Adam) -> None:
        """Take a step of an optimizer, with the gradients of the whole batch."""
        self.replicas.sum_gradients(value for group in optimizer.param_groups for value in group["params"])
        optimizer.step()

    def _whole(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return losses of the whole batch."""
        return self.replicas.sum_losses(losses, self.replicas.weight(self.data.batch_size))


def random_source(seed: int, name: str, device: torch.device | None = None) -> torch.Generator:
    """Return a generator of random numbers, seeded by a seed and a name.

    Args:
        seed: Seed of the training.
        name: What it is for; different names give independent numbers.
        device: The CPU by default.
    """
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return torch.Generator(device or "cpu").manual_seed(int.from_bytes(digest[:7], "big"))


def count_parameters(network: nn.Module) -> int:
    """Return the number of parameters of a network."""
    return sum(parameter.numel() for parameter in network.parameters())
