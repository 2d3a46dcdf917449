"""How networks are run on this host: precision, memory format and compilation. What is learned does not depend on it.

Losses, norms, weights and the optimizer are float32 throughout; convolutions alone run in bfloat16 where the host
multiplies it in hardware.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

import torch
from torch import Tensor, nn

from workers import precision
from workers.precision import Precision
from workers.quantization.tuning.kernels import compiler

_log = logging.getLogger("faceter.worker")

LONG_ENOUGH: Final = 1200.0
"""Seconds of training from which on compiling, a minute or a few, is worth it."""

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Acceleration:
    """What networks were run with, for the result.

    Args:
        precision: What convolutions were computed in.
        compiled: Whether networks were compiled.
        channels_last: Whether pictures and weights lay in that memory format.
        explanation: Why it is so, in words.
    """

    precision: Literal["float32", "bfloat16"]
    compiled: bool
    channels_last: bool
    explanation: str


class Accelerator:
    """Runs networks in a precision, a memory format, and compiled or not.

    Pictures and weights are channels-last on a GPU and where networks are compiled; without a compiler torch's instance
    norm on a CPU would bring every map back to the other format.

    Args:
        device: Where to compute.
        precision: What convolutions are computed in; float32 if not given.
        compiles: Whether to compile networks; see :meth:`prepare`.
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
        self._channels_last = compiles or device.type == "cuda"
        self._format = torch.channels_last if self._channels_last else torch.contiguous_format
        self._explanation = explanation
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

    def place(self, network: M) -> M:
        """Return a network on the device, in the memory format."""
        network.to(self.device)
        network.to(memory_format=self._format)  # type: ignore[call-overload]
        return network

    def arranged(self, images: Tensor) -> Tensor:
        """Return pictures [N, C, H, W] on the device, in the memory format."""
        return images.to(self.device, non_blocking=True).contiguous(memory_format=self._format)

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context to run networks in."""
        return self._precision.autocast()

    def run(self, network: nn.Module, *parts: Tensor) -> Tensor:
        """Return what a network makes of pictures, compiled if it was prepared so; to be called in :meth:`autocast`.

        Args:
            network: The network.
            parts: Pictures, [N, C, H, W] each, that go through it as one batch.
        """
        images = parts[0] if len(parts) == 1 else torch.cat(parts)
        made: Tensor = self._compiled.get(network, network)(self.arranged(images))
        return made

    def prepare(self, networks: Sequence[nn.Module], attempt: Callable[[], object]) -> None:
        """Compile networks, if they are to be compiled; where that fails, go on without and say why.

        Args:
            networks: Those of a training.
            attempt: Runs them as a step does, forwards and backwards, in the shapes of a step.
        """
        if not self._compiles:
            return
        try:
            self._compiled = {network: torch.compile(network, dynamic=False) for network in networks}
            attempt()
        except Exception as error:  # whatever a host's compiler may do, the work goes on without it
            _log.warning("networks were not compiled, and training goes on without: %s", error)
            self._compiled = {}
            self._compiles = False
            first = (str(error).splitlines() or [type(error).__name__])[0]
            self._explanation = self._explanation.replace(
                "; compiled", f"; not compiled: the compiler failed ({first})"
            )
