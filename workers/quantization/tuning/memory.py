"""How many inputs may be trained on at once: what memory there is, and what one takes."""

from __future__ import annotations

import os
from pathlib import Path

import onnx
import torch

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.graphs.shapes import infer

_COPIES = 5
_SHARE = 0.5
_CGROUP = Path("/sys/fs/cgroup")


def available_bytes(device: torch.device) -> int:
    """Return the memory that is free for work on a device; on the CPU what the machine and the container leave."""
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
    """Return what the container uses, the pages of files left out that go when something else needs the room."""
    stat = dict(line.split() for line in (_CGROUP / "memory.stat").read_text(encoding="ascii").splitlines())
    files = int(stat["active_file"]) + int(stat["inactive_file"])
    return max(0, int((_CGROUP / "memory.current").read_text(encoding="ascii")) - files)


def sample_bytes(model: onnx.ModelProto) -> int:
    """Return about how many bytes one input takes while a network is trained beside another.

    Five float32 copies of every activation are counted: the float network's, the quantized one's before and after
    rounding, and their gradients.

    Args:
        model: The float network.
    """
    return activation_values(model) * 4 * _COPIES


def activation_values(model: onnx.ModelProto) -> int:
    """Return how many float values a network computes for one input; at least 1.

    Args:
        model: The float network.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    found = infer(model, batch=1)
    return max(
        1,
        sum(
            info.elements or 0
            for name, info in found.items()
            if name not in constants and info.dtype.startswith("float")
        ),
    )


def most_at_once(model: onnx.ModelProto, device: torch.device) -> int:
    """Return how many inputs fit into half of the memory that is free, the power of two below it.

    Sums are split by it, and so equal runs differ only where the memory that is free differs by half.

    Args:
        model: The float network.
        device: Where the work is done.

    Raises:
        FaceterError: ``OUT_OF_MEMORY`` if not even one does; it says how much is needed.
    """
    needed, free = sample_bytes(model), available_bytes(device)
    if needed > free * _SHARE:
        raise FaceterError(
            ProblemKind.OUT_OF_MEMORY,
            f"Tuning this model takes about {needed / 2**20:,.0f} MiB for a single input, and the worker has "
            f"{free / 2**20:,.0f} MiB free, of which it would use half. Run a worker with more memory, or use rq, dfq "
            "or aciq, which do not train.",
        )
    return int(1 << (int(free * _SHARE // needed).bit_length() - 1))
