"""The machine that a job runs on: its processors, GPU and compiler if it has them, the threads torch may use."""

import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch


def processor_count() -> int:
    """Return how many processors this process may use; those of the machine where that cannot be told."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor_name() -> str:
    """Return the processor's name, as far as the machine tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def compute_device() -> torch.device:
    """Return the device for forward passes and training. Call it in the process that does a job, not in its parent."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def describe_device(device: torch.device) -> str:
    """Return a device's name as provenance tells it, such as ``cpu`` or ``cuda: NVIDIA H100``."""
    return f"cuda: {torch.cuda.get_device_name(device)}" if device.type == "cuda" else device.type


def compiler() -> str | None:
    """Return the C++ compiler that torch would use, None where the host has none."""
    return next((found for name in ("g++", "clang++", "c++") if (found := shutil.which(name))), None)


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Run the block with this many threads in torch's operators.

    One is best for passes of a single image: two gained nothing on an idle host, and on a busy one they waited for
    each other, ten times as long.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
