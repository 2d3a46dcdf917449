"""The clip that all channels of a tensor share: ACIQ's expected error, averaged over channels of different width.

References:
    Banner, Nahshan, Soudry, "Post-training 4-bit quantization of convolutional networks for rapid-deployment",
    NeurIPS 2019, arXiv 1810.05723.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.quantization.gaussian import normal_cumulative, normal_density

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ChannelShapes:
    """The fitted distributions of a tensor's channels, each Laplace or Gaussian.

    Args:
        location: Centre of each channel, [C].
        absolute_deviation: b of each channel, [C].
        deviation: σ of each channel, [C].
        laplace: Which channels are Laplace, bool [C]; the others are Gaussian.
        weight: Mass of each channel's distribution, [C]: 1, or after ReLU, where positive values are fitted as half of
            a distribution about 0, twice their fraction.
        rounded: Fraction of all values with a rounding error: 1, or the fraction of positive values after ReLU.
    """

    location: Array
    absolute_deviation: Array
    deviation: Array
    laplace: NDArray[np.bool_]
    weight: Array
    rounded: float = 1.0

    def tail_error(self, distance: Array) -> Array:
        """Return ∫ (x − d)² p(x) dx over x > d for each channel, d being ``distance`` from its centre, [C].

        Laplace: b² e^(−d/b). Gaussian: (σ² + d²)(1 − Φ(d/σ)) − σ d φ(d/σ). Twice that is the clipping error in ACIQ's
        MSE(α).
        """
        b = np.maximum(self.absolute_deviation, 1e-30)
        sigma = np.maximum(self.deviation, 1e-30)
        beyond = np.square(b) * np.exp(-np.abs(distance) / b)
        laplace = np.where(distance >= 0, beyond, 2 * np.square(b) + np.square(distance) - beyond)
        t = distance / sigma
        gaussian = (np.square(sigma) + np.square(distance)) * normal_cumulative(-t) - sigma * distance * normal_density(
            t
        )
        return self.weight * np.maximum(np.where(self.laplace, laplace, gaussian), 0.0)


def optimal_range(
    shapes: ChannelShapes, low: float, high: float, bits: int, *, centre: float, one_sided: bool
) -> tuple[float, float]:
    """Return the range that minimizes ACIQ's expected squared error, averaged over the channels of a tensor.

    For one channel about 0 it is [−α*, α*], or [0, α*] of one more bit after ReLU, as in the paper. Channels of a
    tensor differ in width, so that no single distribution fits the whole of it; the error of a shared clip is the mean
    of the channels' closed forms, a convex function of α.

    Args:
        low: Smallest value of the tensor.
        high: Largest value of the tensor.
        centre: Centre of a two-sided range.
        one_sided: Whether no value is negative.

    Returns:
        Lower and upper end, within ``low`` and ``high``.
    """

    def error(alpha: float) -> float:
        if one_sided:
            return float(shapes.tail_error(alpha - shapes.location).mean()) + shapes.rounded * alpha**2 / (
                12 * 4.0**bits
            )
        tails = shapes.tail_error(centre + alpha - shapes.location) + shapes.tail_error(
            shapes.location - (centre - alpha)
        )
        return float(tails.mean()) + shapes.rounded * alpha**2 / (3 * 4.0**bits)

    limit = high if one_sided else max(high - centre, centre - low)
    if limit <= 0:
        return low, high
    alpha = _argmin(error, limit)
    return (low, alpha) if one_sided else (max(low, centre - alpha), min(high, centre + alpha))


def _argmin(convex: Callable[[float], float], limit: float) -> float:
    """Return the minimizer of a convex function on [0, limit], by golden-section search."""
    ratio = (math.sqrt(5) - 1) / 2
    low, high = 0.0, limit
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = convex(left), convex(right)
    for _ in range(48):
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = convex(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = convex(right)
    return high if high >= limit * (1 - 1e-9) else (low + high) / 2
