"""What a quantizer must know of an activation tensor: its range, its spread, and the mean of each channel."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from workers.quantization.clipping import ChannelShapes
from workers.quantization.gaussian import ClampedGaussian

Array = NDArray[np.float64]


class Source(StrEnum):
    """Where statistics come from."""

    KNOWN = "known"
    """From the preprocessing or the operator: pixels, a sigmoid."""
    BATCH_NORM = "batch_norm"
    """From BatchNorm's β and γ, carried through the graph."""
    CALIBRATION = "calibration"
    """Measured on calibration data."""
    NOISE = "noise"
    """Measured on seeded noise shaped like the input."""


@dataclass(frozen=True)
class TensorStatistics:
    """Statistics of one activation tensor, in its own units.

    Args:
        low: Smallest value to be represented.
        high: Largest value to be represented.
        mean: E[x] over the tensor.
        shapes: Shape of every channel, for a clip that errs least.
        channel_mean: E[x] of each channel, [C].
        source: Where the numbers come from.
    """

    low: float
    high: float
    mean: float
    shapes: ChannelShapes
    channel_mean: Array
    source: Source

    @property
    def one_sided(self) -> bool:
        """Whether no value is negative, as after ReLU."""
        return self.low >= 0


def from_distribution(
    channels: ClampedGaussian, *, deviations: float = 6.0, source: Source = Source.BATCH_NORM
) -> TensorStatistics:
    """Return the statistics of a tensor whose channels are clamped Gaussians, all channels being of equal size.

    The range is β ± ``deviations`` · γ of every channel, through the activation function, joined over the tensor.

    Args:
        channels: Distribution of every channel.
        deviations: How many standard deviations of each channel the range reaches; 6 in the papers.
        source: Where the distribution comes from.
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
