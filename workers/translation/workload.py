"""How long a training will take, about, told before its first step, and the same each time."""

from __future__ import annotations

from typing import Final

import torch
from torch.utils.flop_counter import FlopCounterMode

from workers.translation.trainer import Settings

OPERATIONS_PER_SECOND: Final = 1.5e11
"""What two cores of a server do in float32, about."""

_PASSES: Final = 3
"""A step's work in forward passes of the same size: forwards, and backwards for values and for weights."""

_GENERATED: Final = 6
"""Images that the generators of CycleGAN make of one of A and one of B; pix2pix makes one, and is over sooner."""


def expected_seconds(settings: Settings, steps: int, batch_size: int) -> float:
    """Return how long a training may take on two cores, to within a factor of a few.

    Args:
        settings: What networks look like.
        steps: Steps to take.
        batch_size: Images of each domain per step.
    """
    size = settings.image_size
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        settings.new_generator()(torch.empty(1, 3, size, size))
    forward: int = counter.get_total_flops()
    return steps * batch_size * _GENERATED * _PASSES * forward / OPERATIONS_PER_SECOND
