"""The host of a job: processors, GPU, C++ compiler, and the number of torch threads."""

import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch


def processor_count() -> int:
    """Return the number of processors that this process may use (of the machine where affinity is not supported)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor_name() -> str:
    """Return the processor's name, or its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def compute_device() -> torch.device:
    """Return the device for inference and training. Call it in the job's process: CUDA must not start before a fork."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def describe_device(device: torch.device) -> str:
    """Return a device's name for provenance, such as ``cpu`` or ``cuda: NVIDIA H100``."""
    return f"cuda: {torch.cuda.get_device_name(device)}" if device.type == "cuda" else device.type


def compiler() -> str | None:
    """Return the path of a C++ compiler for torch.compile, None if there is none."""
    return next((found for name in ("g++", "clang++", "c++") if (found := shutil.which(name))), None)


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Set the number of threads of torch's operators within a block.

    One is best for batches of one image: two were not faster on an idle host, and ten times slower on a busy one.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
