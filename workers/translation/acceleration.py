"""How networks are run on this host: precision, memory format and compilation. What is learned does not depend on it.

Losses, norms, weights and the optimizer are float32 throughout; convolutions alone run in bfloat16 where the host
multiplies it in hardware.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

import torch
from torch import Tensor, nn

from workers.host import compiler
from workers.training import precision
from workers.training.precision import Precision

_log = logging.getLogger("faceter.worker")

LONG_ENOUGH: Final = 1200.0
"""Seconds of training from which on compiling, a minute or a few, is worth it."""

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Acceleration:
    """What networks were run with, for the result.

    Args:
        precision: What convolutions were computed in.
        compiled: Whether generators were compiled.
        channels_last: Whether generators and their images lay in that memory format.
        explanation: Why it is so, in words.
    """

    precision: Literal["float32", "bfloat16"]
    compiled: bool
    channels_last: bool
    explanation: str


class Accelerator:
    """Runs networks in a precision, a memory format, and compiled or not.

    Generators alone are compiled: they are nine tenths of the work, and each further graph takes the compiler as long.
    Channels-last is the format of a GPU, and of compiled networks in bfloat16. Elsewhere on a CPU it costs more than it
    gives: torch's instance norm brings every map back to the other format, and float32 convolutions gain nothing by it.

    Args:
        device: Where to compute.
        precision: What convolutions are computed in; float32 if not given.
        compiles: Whether to compile generators; see :meth:`prepare`.
        explanation: Why so, in words.
    """

    def __init__(
        self,
        device: torch.device,
        precision: Precision | None = None,
        *,
        compiles: bool = False,
        explanation: str = "float32; not compiled: not asked for",
    ) -> None:
        self.device = device
        self._precision = precision or Precision("float32", device)
        self._compiles = compiles
        self._channels_last = device.type == "cuda" or (compiles and self._precision.name == "bfloat16")
        self._explanation = explanation
        self._formats: dict[nn.Module, torch.memory_format] = {}
        self._compiled: dict[nn.Module, Callable[[Tensor], Tensor]] = {}

    @classmethod
    def choose(cls, device: torch.device, seconds: float | None) -> Accelerator:
        """Return the fastest way for a device and a length of training.

        Args:
            device: Where to compute.
            seconds: How long training will take, about; None if that is not known and it may be long.
        """
        chosen = precision.choose(device)
        why = {
            "bfloat16": "bfloat16 in hardware",
            "float32": "float32: the host does not multiply bfloat16 in hardware",
        }[chosen.name]
        if seconds is not None and seconds < LONG_ENOUGH:
            compiles, because = False, f"not compiled: not worth it below {LONG_ENOUGH / 60:.0f} minutes"
        elif compiler() is None:
            compiles, because = False, "not compiled: the host has no C++ compiler"
        else:
            compiles, because = True, "compiled"
        return cls(device, chosen, compiles=compiles, explanation=f"{why}; {because}")

    @property
    def record(self) -> Acceleration:
        """What networks are run with."""
        return Acceleration(self._precision.name, self._compiles, self._channels_last, self._explanation)

    @property
    def pinned(self) -> bool:
        """Whether batches should lie in pinned memory."""
        return self.device.type == "cuda"

    def place(self, network: M, *, generates: bool) -> M:
        """Return a network on the device, in the memory format it is run in.

        Args:
            network: The network.
            generates: Whether it is a generator, and so worth compiling.
        """
        network.to(self.device)
        if self._channels_last and (generates or self.device.type == "cuda"):
            self._formats[network] = torch.channels_last
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network

    def arranged(self, images: Tensor) -> Tensor:
        """Return images [N, C, H, W] on the device."""
        return images.to(self.device, non_blocking=True)

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context to run networks in."""
        return self._precision.autocast()

    def run(self, network: nn.Module, *parts: Tensor) -> Tensor:
        """Return what a network makes of images, compiled if it was prepared so; to be called in :meth:`autocast`.

        Args:
            network: The network.
            parts: Images, [N, C, H, W] each, that go through it as one batch.
        """
        images = parts[0] if len(parts) == 1 else torch.cat(parts)
        images = images.contiguous(memory_format=self._formats.get(network, torch.contiguous_format))
        made: Tensor = self._compiled.get(network, network)(images)
        return made

    def prepare(self, generators: Sequence[nn.Module], attempt: Callable[[], object]) -> None:
        """Compile generators, if they are to be compiled; where that fails, go on without and say why.

        Args:
            generators: Those of a training.
            attempt: Runs them as a step does, forwards and backwards, in the shapes of a step.
        """
        if not self._compiles:
            return
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch warns of its own doings while it compiles
                self._compiled = {network: torch.compile(network, dynamic=False) for network in generators}
                attempt()
        except Exception as error:  # whatever a host's compiler may do, the work goes on without it
            _log.warning("generators were not compiled, and training goes on without: %s", error)
            self._compiled = {}
            self._compiles = False
            first = (str(error).splitlines() or [type(error).__name__])[0]
            self._explanation = self._explanation.replace(
                "; compiled", f"; not compiled: the compiler failed ({first})"
            )
