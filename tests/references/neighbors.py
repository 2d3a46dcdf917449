"""Distances and nearest neighbours by their definition: all differences, in float64."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def distances(x: Floats, y: Floats) -> Floats:
    """Return ‖x − y‖ of all pairs, [N, M]."""
    return np.sqrt(np.asarray([np.square(row - y).sum(1) for row in x], np.float64))


def nearest_within(x: Floats, k: int) -> Floats:
    """Return the distances to the k nearest neighbours, [N, k]."""
    found = distances(x, x)
    np.fill_diagonal(found, np.inf)
    return np.sort(found, axis=1)[:, :k]
