"""A deterministic estimate of the duration of a training, before its first step."""

from __future__ import annotations

from typing import Final

import torch
from torch.utils.flop_counter import FlopCounterMode

from workers.translation.trainer import TranslatorSettings

OPERATIONS_PER_SECOND: Final = 1.5e11
"""Approximate float32 speed of two server cores."""

_PASSES: Final = 3
"""Cost of a training step in forward passes: forward, and backward for activations and for weights."""

_GENERATED: Final = 6
"""Generator passes of CycleGAN per image of A and B; pix2pix has one, so it is overestimated."""


def expected_seconds(settings: TranslatorSettings, steps: int, batch_size: int) -> float:
    """Return the estimated seconds of a training on two cores, within a factor of a few.

    Args:
        settings: Of the networks.
        steps: Number of training steps.
        batch_size: Images of each domain per step.
    """
    size = settings.image_size
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        settings.new_generator()(torch.empty(1, 3, size, size))
    forward: int = counter.get_total_flops()
    return steps * batch_size * _GENERATED * _PASSES * forward / OPERATIONS_PER_SECOND
