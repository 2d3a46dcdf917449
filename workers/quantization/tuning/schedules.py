"""Learning-rate schedules as functions of the fraction of a budget that is spent."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch.optim import Optimizer


def step_decay(fraction: float, milestones: Sequence[float], factor: float = 0.1) -> float:
    """Return ``factor`` to the power of the number of milestones passed.

    Args:
        fraction: Fraction of the budget that is spent, 0 to 1.
        milestones: Fractions at which the learning rate falls.
        factor: Factor on the learning rate at each milestone.
    """
    return float(factor ** sum(fraction >= milestone for milestone in milestones))


def cosine_decay(fraction: float) -> float:
    """Return ½ (1 + cos π·fraction): 1 at fraction 0, 0 at 1; the fraction is clamped to [0, 1]."""
    return 0.5 * (1.0 + math.cos(math.pi * min(max(fraction, 0.0), 1.0)))


def set_learning_rate(optimizer: Optimizer, learning_rate: float) -> None:
    """Set the learning rate of every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
