"""Isotonic regression."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def isotonic_regression(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the non-decreasing sequence nearest to ``values`` in least squares, [N], by pooling adjacent violators."""
    pools: list[tuple[float, int]] = []
    for value in values.tolist():
        pool = (value, 1)
        while pools and pools[-1][0] > pool[0]:
            mean, count = pools.pop()
            pool = ((mean * count + pool[0] * pool[1]) / (count + pool[1]), count + pool[1])
        pools.append(pool)
    return np.repeat([mean for mean, _ in pools], [count for _, count in pools])
