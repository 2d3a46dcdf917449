"""The host of a job: processors, GPU, C++ compiler, and the number of torch threads."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def compute_device() -> torch.device:
    """Return the device for inference and training. Call it in the job's process: CUDA must not start before a fork."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def describe_device(device: torch.device) -> str:
    """Return a device's name for provenance, such as ``cpu`` or ``cuda: NVIDIA H100``."""
    return f"cuda: {torch.cuda.get_device_name(device)}" if device.type == "cuda" else device.type


def device_of_jobs() -> str:
    """Return the description of the device that jobs of this process will have; empty if that fails.

    A child finds it out: CUDA must not start before a fork.
    """
    if torch.version.cuda is None:
        return "cpu"
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, describe_device(compute_device()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, encoding="utf-8") as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return text


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
