"""Statistics of one activation tensor: range, fitted channel distributions, and channel means."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from workers.quantization.channel_shapes import ChannelShapes
from workers.quantization.gaussian import ClampedGaussian

Array = NDArray[np.float64]


class StatisticsSource(StrEnum):
    """Origin of statistics."""

    KNOWN = "known"
    """Known from the preprocessing or the operator: pixels, a sigmoid."""
    BATCH_NORM = "batch_norm"
    """BatchNorm's β and γ, propagated through the graph."""
    CALIBRATION = "calibration"
    """Measured on calibration data."""
    NOISE = "noise"
    """Measured on seeded noise shaped like the input."""


@dataclass(frozen=True)
class TensorStatistics:
    """Statistics of one activation tensor.

    Args:
        low: Smallest value to represent.
        high: Largest value to represent.
        mean: E[x] over the tensor.
        shapes: Fitted distribution of every channel, for analytic clipping.
        channel_mean: E[x] of each channel, [C].
        source: Origin of the numbers.
    """

    low: float
    high: float
    mean: float
    shapes: ChannelShapes
    channel_mean: Array
    source: StatisticsSource

    @property
    def one_sided(self) -> bool:
        """Whether no value is negative, as after ReLU."""
        return self.low >= 0


def from_distribution(
    channels: ClampedGaussian, *, deviations: float = 6.0, source: StatisticsSource = StatisticsSource.BATCH_NORM
) -> TensorStatistics:
    """Return the statistics of a tensor whose channels, all of equal size, are clamped Gaussians.

    The range is β ± ``deviations`` · γ of every channel, clamped, joined over the tensor.

    Args:
        deviations: Half-width of the range in standard deviations; 6 in DFQ.
        source: Origin of the distribution.
    """
    lows, highs = channels.bounds(deviations)
    low, high = float(lows.min()), float(highs.max())
    expected = channels.expectation()
    count = channels.mean.size
    shapes = ChannelShapes(
        location=channels.mean,
        absolute_deviation=channels.deviation / math.sqrt(2),
        deviation=channels.deviation,
        laplace=np.ones(count, np.bool_),
        weight=np.ones(count),
        rounded=float(channels.positive_mass().mean()) if low >= 0 else 1.0,
    )
    return TensorStatistics(low, high, float(expected.mean()), shapes, expected, source)
