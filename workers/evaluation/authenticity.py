"""Authenticity: how few of the generated samples look like copies of real ones.

References:
    Alaa, van Breugel, Saveliev, van der Schaar, "How Faithful is your Synthetic Data?", ICML 2022, arXiv 2102.08921.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workers.evaluation.neighbors import Neighbors


def authentic(nearest_real: Neighbors, real: Neighbors) -> NDArray[np.bool_]:
    """Return which generated samples are farther from the real one nearest to them than that is from any other, [M].

    Args:
        nearest_real: The nearest real sample of each generated one, M times 1.
        real: The nearest other real sample of each real one, N times 1 or more.
    """
    nearest, distances = nearest_real.indices[:, 0], nearest_real.distances[:, 0]
    return np.asarray(distances > real.distances[nearest, 0])


def authenticity(nearest_real: Neighbors, real: Neighbors) -> float:
    """Return the share of generated samples that are authentic; see `authentic`."""
    return float(authentic(nearest_real, real).mean())
