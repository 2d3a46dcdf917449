"""A map of two sets: the two directions in which real samples differ most.

References:
    Hotelling, "Analysis of a Complex of Statistical Variables into Principal Components", 1933.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workers.evaluation.points import Floats, Integers, Rows

_MOST_FITTED = 2000


@dataclass(frozen=True)
class Projection:
    """The first two principal components of a set.

    Args:
        center: Mean, float64 [D].
        axes: Directions of unit length, float64 [2, D].
        explained: Share of the variance along each.
    """

    center: Floats
    axes: Floats
    explained: tuple[float, float]

    def of(self, rows: Rows) -> Floats:
        """Return where samples lie on the map, [N, 2]."""
        return (np.asarray(rows, np.float64) - self.center) @ self.axes.T


def principal_components(rows: Rows, rng: np.random.Generator) -> Projection:
    """Return the projection on the first two principal components, from at most 2,000 samples.

    Args:
        rows: [N, D], N at least 2; with a single feature the second direction is empty.
        rng: Draws the samples.
    """
    sample = np.asarray(rows[drawn(len(rows), _MOST_FITTED, rng)], np.float64)
    center = sample.mean(0)
    _, sizes, directions = np.linalg.svd(sample - center, full_matrices=False)
    axes = np.zeros((2, rows.shape[1]))
    axes[: len(directions[:2])] = directions[:2]
    for axis in axes:
        axis *= -1 if axis[np.abs(axis).argmax()] < 0 else 1
    variances = np.zeros(2)
    variances[: len(sizes[:2])] = np.square(sizes[:2])
    whole = np.square(sizes).sum()
    shares = variances / whole if whole > 0 else variances
    return Projection(center, axes, (float(shares[0]), float(shares[1])))


def drawn(count: int, most: int, rng: np.random.Generator) -> Integers:
    """Return at most so many of ``count`` positions, drawn at random, in rising order."""
    if count <= most:
        return np.arange(count)
    return np.sort(rng.choice(count, most, replace=False))
