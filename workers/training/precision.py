"""Precision of training: bfloat16 where the host multiplies it in hardware, else float32."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

_log = logging.getLogger("faceter.worker")

_FLAGS = ("amx_bf16", "avx512_bf16")


@dataclass(frozen=True)
class Precision:
    """A precision of convolutions and matrix products; everything else, losses and updates included, is float32."""

    name: Literal["float32", "bfloat16"]
    device: torch.device

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context to run forward passes in."""
        if self.name == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)


def choose(device: torch.device, attempt: Callable[[], object] = lambda: None) -> Precision:
    """Return the fastest precision that the host has in hardware and the network runs in.

    Args:
        attempt: Runs the network forwards and backwards once; its operators may not all support bfloat16.
    """
    fast = Precision("bfloat16", device)
    if not _in_hardware(device):
        return Precision("float32", device)
    try:
        with fast.autocast():
            attempt()
    except (RuntimeError, TypeError, NotImplementedError) as error:
        _log.info("training runs in float32, since the network does not run in bfloat16: %s", error)
        return Precision("float32", device)
    return fast


def _in_hardware(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return any(flag in flags for flag in _FLAGS)
