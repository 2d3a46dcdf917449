"""What torch computes on: a GPU where there is one, else the processor."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def compute_device() -> torch.device:
    """Return the device for forward passes and training. Call it in the process that does a job, not in its parent."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def describe_device(device: torch.device) -> str:
    """Return a device's name as provenance tells it, such as ``cpu`` or ``cuda: NVIDIA H100``."""
    return f"cuda: {torch.cuda.get_device_name(device)}" if device.type == "cuda" else device.type


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Run the block with this many threads in torch's operators.

    One is best for passes of a single picture: two gained nothing on an idle host, and on a busy one they waited for
    each other, ten times as long.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
