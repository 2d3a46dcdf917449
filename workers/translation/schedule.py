"""The learning rate schedule of both papers."""

from __future__ import annotations


def rate_factor(fraction: float) -> float:
    """Return the factor on the learning rate: 1 for the first half of training, then linearly to 0.

    Zhu et al., ICCV 2017, arXiv 1703.10593, section 4: 100 epochs at one rate, and 100 in which it falls.

    Args:
        fraction: Used fraction of the budget, 0 to 1.
    """
    return min(1.0, 2.0 * (1.0 - fraction))
