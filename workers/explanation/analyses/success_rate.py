"""Success rates of copy-paste adversarial examples."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.analyses import SuccessRate

_Z = 1.959963984540054
"""97.5 % quantile of the normal distribution."""


def success_rate(
    before: NDArray[np.float64], after: NDArray[np.float64], target: int, successes: NDArray[np.bool_]
) -> SuccessRate:
    """Return how often edited inputs are predicted as the target class.

    Args:
        before: Scores of the original inputs, [tries, C].
        after: Scores of the edited inputs, [tries, C].
        target: The class.
        successes: Whether each edited input is predicted as the class, [tries].
    """
    tries, count = len(after), int(successes.sum())
    return SuccessRate(
        tries=tries,
        successes=count,
        rate=count / tries if tries else 0.0,
        interval=wilson_interval(count, tries),
        probability_gain=float((after[:, target] - before[:, target]).mean()) if tries else 0.0,
    )


def wilson_interval(successes: int, tries: int) -> list[float]:
    """Return the 95 % confidence interval of a proportion (Wilson 1927)."""
    if tries == 0:
        return [0.0, 1.0]
    proportion = successes / tries
    centre = proportion + _Z**2 / (2 * tries)
    margin = _Z * math.sqrt(proportion * (1 - proportion) / tries + _Z**2 / (4 * tries**2))
    scale = 1 + _Z**2 / tries
    low = 0.0 if successes == 0 else (centre - margin) / scale
    high = 1.0 if successes == tries else (centre + margin) / scale
    return [low, high]
