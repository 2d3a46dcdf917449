"""Learning rates as functions of the share of a budget that is spent."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch.optim import Optimizer


def staircase(fraction: float, milestones: Sequence[float], factor: float = 0.1) -> float:
    """Return ``factor`` to the power of the number of milestones passed.

    Args:
        fraction: The share that is spent, 0 to 1.
        milestones: Shares at which the rate falls.
        factor: What it is multiplied by at each.
    """
    return float(factor ** sum(fraction >= milestone for milestone in milestones))


def cosine(fraction: float) -> float:
    """Return ½ (1 + cos π·fraction): 1 at the beginning, 0 at the end."""
    return 0.5 * (1.0 + math.cos(math.pi * min(max(fraction, 0.0), 1.0)))


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Give every group of an optimizer a learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate
