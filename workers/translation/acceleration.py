"""Precision, memory format and compilation of networks on this host. What is learned does not depend on them.

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

MIN_SECONDS_TO_COMPILE: Final = 1200.0
"""Seconds of training from which on compiling, which takes minutes, is worth it."""

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Acceleration:
    """How networks were run, for the record of training.

    Args:
        precision: Precision of convolutions.
        compiled: Whether generators were compiled.
        channels_last: Memory format of generators and their images.
        explanation: Why precision and compilation were chosen.
    """

    precision: Literal["float32", "bfloat16"]
    compiled: bool
    channels_last: bool
    explanation: str


class Accelerator:
    """Runs networks in a precision, a memory format, and compiled or not.

    Only generators are compiled: they are nine tenths of the work, and each further graph takes as long to compile.
    Channels-last is used on GPUs, and for compiled networks in bfloat16. Otherwise it is slower on CPUs: torch's
    instance norm converts every map back, and float32 convolutions gain nothing.

    Args:
        device: Where to compute.
        precision: Precision of convolutions; float32 by default.
        compiles: Whether to compile generators; see :meth:`prepare`.
        explanation: Why these were chosen.
    """

    def __init__(
        self,
        device: torch.device,
        precision: Precision | None = None,
        *,
        compiles: bool = False,
        explanation: str = "float32; not compiled: not requested",
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
        """Return the fastest accelerator for a device and a length of training.

        Args:
            device: Where to compute.
            seconds: Expected seconds of training; None if unknown and possibly long.
        """
        chosen = precision.choose(device)
        reason = {
            "bfloat16": "bfloat16 in hardware",
            "float32": "float32: the host does not multiply bfloat16 in hardware",
        }[chosen.name]
        if seconds is not None and seconds < MIN_SECONDS_TO_COMPILE:
            compiles, compile_reason = (
                False,
                f"not compiled: not worth it below {MIN_SECONDS_TO_COMPILE / 60:.0f} minutes",
            )
        elif compiler() is None:
            compiles, compile_reason = False, "not compiled: the host has no C++ compiler"
        else:
            compiles, compile_reason = True, "compiled"
        return cls(device, chosen, compiles=compiles, explanation=f"{reason}; {compile_reason}")

    @property
    def record(self) -> Acceleration:
        """How networks are run."""
        return Acceleration(self._precision.name, self._compiles, self._channels_last, self._explanation)

    @property
    def pinned(self) -> bool:
        """Whether batches should lie in pinned memory."""
        return self.device.type == "cuda"

    def place(self, network: M, *, is_generator: bool) -> M:
        """Return a network on the device, in the memory format it is run in."""
        network.to(self.device)
        if self._channels_last and (is_generator or self.device.type == "cuda"):
            self._formats[network] = torch.channels_last
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network

    def to_device(self, images: Tensor) -> Tensor:
        """Return images [N, C, H, W] on the device."""
        return images.to(self.device, non_blocking=True)

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context to run networks in."""
        return self._precision.autocast()

    def run(self, network: nn.Module, *parts: Tensor) -> Tensor:
        """Return the output of a network, which runs compiled if it was prepared; to be called in :meth:`autocast`.

        Args:
            network: The network.
            parts: Images, [N, C, H, W] each, that run as one batch.
        """
        images = parts[0] if len(parts) == 1 else torch.cat(parts)
        images = images.contiguous(memory_format=self._formats.get(network, torch.contiguous_format))
        output: Tensor = self._compiled.get(network, network)(images)
        return output

    def prepare(self, generators: Sequence[nn.Module], attempt: Callable[[], object]) -> None:
        """Compile generators, if they are to be compiled; if that fails, run them uncompiled and record why.

        Args:
            generators: Those of a training.
            attempt: Runs them forwards and backwards in the shapes of a step.
        """
        if not self._compiles:
            return
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch warns of its own code while it compiles
                self._compiled = {network: torch.compile(network, dynamic=False) for network in generators}
                attempt()
        except Exception as error:  # whatever the compiler raises, training works without it
            _log.warning("generators run uncompiled, since compiling failed: %s", error)
            self._compiled = {}
            self._compiles = False
            first = (str(error).splitlines() or [type(error).__name__])[0]
            self._explanation = self._explanation.replace(
                "; compiled", f"; not compiled: the compiler failed ({first})"
            )
