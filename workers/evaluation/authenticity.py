"""Authenticity: the fraction of generated samples that are not likely copies of real ones.

References:
    Alaa, van Breugel, Saveliev, van der Schaar, "How Faithful is your Synthetic Data?", ICML 2022, arXiv 2102.08921.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workers.evaluation.neighbors import Neighbors


def authentic(nearest_real: Neighbors, real: Neighbors) -> NDArray[np.bool_]:
    """Return which generated samples are farther from their nearest real one than that is from any other real one, [M].

    Args:
        nearest_real: The nearest real sample of each generated one, M times 1.
        real: Nearest neighbours within the real samples, N times 1 or more.
    """
    nearest, distances = nearest_real.indices[:, 0], nearest_real.distances[:, 0]
    return np.asarray(distances > real.distances[nearest, 0])


def authenticity(nearest_real: Neighbors, real: Neighbors) -> float:
    """Return the fraction of generated samples that are authentic; see `authentic`."""
    return float(authentic(nearest_real, real).mean())
