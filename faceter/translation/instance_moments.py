"""Mean and variance of each channel of an image, accumulated tile by tile."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


class InstanceMoments:
    """Statistics of instance normalization over all tiles of an image, merged in float64.

    Tiles are merged by the pairwise update of T. F. Chan, G. H. Golub and R. J. LeVeque (Updating formulae and a
    pairwise algorithm for computing sample variances, 1979, equation 2.1): with n, μ and M of both sides and δ the
    difference of the means, M = M₁ + M₂ + δ² n₁ n₂ / (n₁ + n₂). This avoids the cancellation of E[x²] − E[x]².
    """

    def __init__(self, channels: int) -> None:
        self._count = 0
        self._mean = np.zeros(channels)
        self._squares = np.zeros(channels)

    def add(self, values: FloatArray) -> None:
        """Add the values of a tile, float32 [C, h, w]."""
        count = values[0].size
        means, squares = np.empty_like(self._mean), np.empty_like(self._mean)
        for channel, plane in enumerate(values):  # one by one: a plane stays in the processor's cache
            means[channel] = mean = plane.mean()
            deviations = plane - mean
            squares[channel] = np.square(deviations, out=deviations).sum()
        total = self._count + count
        difference = means - self._mean
        self._squares += squares + difference**2 * (self._count * count / total)
        self._mean += difference * (count / total)
        self._count = total

    def mean(self) -> FloatArray:
        """Return the means, float32 [C]."""
        return self._mean.astype(np.float32)

    def variance(self) -> FloatArray:
        """Return the population variances (divided by n, not n − 1), float32 [C]."""
        return (self._squares / self._count).astype(np.float32)
