"""Batch size that memory allows: free memory of the device, and memory per sample of the network."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
import torch

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.graphs.shapes import infer_shapes

Shapes = Mapping[str, Sequence[int]]
"""Shapes by input."""

_ACTIVATION_COPIES = 5
_USABLE_FRACTION = 0.5
_CGROUP = Path("/sys/fs/cgroup")


def available_bytes(device: torch.device) -> int:
    """Return the free memory of a device; for the CPU the smaller of what the host and the container leave."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
        limit = (_CGROUP / "memory.max").read_text(encoding="ascii").strip()
        if limit != "max":
            free = min(free, int(limit) - _used_in_container())
    except (OSError, StopIteration, ValueError, KeyError):
        return max(free, 0)
    return max(free, 0)


def _used_in_container() -> int:
    """Return the memory that the container uses, without file pages, which are evicted on demand."""
    stat = dict(line.split() for line in (_CGROUP / "memory.stat").read_text(encoding="ascii").splitlines())
    files = int(stat["active_file"]) + int(stat["inactive_file"])
    return max(0, int((_CGROUP / "memory.current").read_text(encoding="ascii")) - files)


def sample_bytes(model: onnx.ModelProto, shapes: Shapes | None = None) -> int:
    """Return an estimate of the bytes per sample while a network is trained beside its teacher.

    It counts five float32 copies of every activation: of the float network, of the quantized one before and after
    rounding, and the gradients of both.
    """
    return activation_values(model, shapes) * 4 * _ACTIVATION_COPIES


def activation_values(model: onnx.ModelProto, shapes: Shapes | None = None) -> int:
    """Return the number of float activation values for one sample, at least 1.

    Args:
        shapes: Shapes of the inputs, where the model leaves them open.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    inferred = infer_shapes(model, batch=1, inputs=shapes)
    return max(
        1,
        sum(
            info.elements or 0
            for name, info in inferred.items()
            if name not in constants and info.dtype.startswith("float")
        ),
    )


def largest_batch(model: onnx.ModelProto, device: torch.device, shapes: Shapes | None = None) -> int:
    """Return the largest power of two of samples that fits into half of the free memory.

    Gradients are accumulated over chunks of this size, so that equal runs give different sums only where free memory
    differs by a factor of two.

    Raises:
        FaceterError: ``OUT_OF_MEMORY`` if not even one sample fits, with the memory needed.
    """
    needed, free = sample_bytes(model, shapes), available_bytes(device)
    if needed > free * _USABLE_FRACTION:
        raise FaceterError(
            ProblemKind.OUT_OF_MEMORY,
            f"Tuning this model takes about {needed / 2**20:,.0f} MiB for a single input, and the worker has "
            f"{free / 2**20:,.0f} MiB free, of which it would use half. Run a worker with more memory, or use rq, dfq "
            "or aciq, which do not train.",
        )
    return int(1 << (int(free * _USABLE_FRACTION // needed).bit_length() - 1))
