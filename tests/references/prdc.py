"""Precision, recall, density and coverage by their definitions, in float64."""

import numpy as np
from numpy.typing import NDArray

from tests.references.neighbors import distances, nearest_within

Floats = NDArray[np.float64]


def prdc(real: Floats, generated: Floats, k: int) -> dict[str, float]:
    """Return the four metrics, with open balls."""
    radii, others = nearest_within(real, k)[:, -1], nearest_within(generated, k)[:, -1]
    between = distances(real, generated)
    inside = between < radii[:, None]
    return {
        "density": inside.sum() / (k * len(generated)),
        "coverage": inside.any(1).mean(),
        "precision": inside.any(0).mean(),
        "recall": (between < others).any(1).mean(),
    }
