"""Projection of the feature space on two principal components of the real samples.

References:
    Hotelling, "Analysis of a Complex of Statistical Variables into Principal Components", 1933.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workers.evaluation.points import Floats, Integers, Rows

_MAX_FITTED_SAMPLES = 2000


@dataclass(frozen=True)
class Projection:
    """The first two principal components of a set.

    Args:
        center: Mean, float64 [D].
        axes: Unit vectors, float64 [2, D].
        explained: Fraction of the variance along each.
    """

    center: Floats
    axes: Floats
    explained: tuple[float, float]

    def apply(self, rows: Rows) -> Floats:
        """Return the components of samples, [N, 2]."""
        return (np.asarray(rows, np.float64) - self.center) @ self.axes.T


def principal_components(rows: Rows, rng: np.random.Generator) -> Projection:
    """Return the projection on the first two principal components, from at most 2,000 samples.

    Args:
        rows: [N, D], N at least 2; with D = 1 the second axis is zero.
        rng: Draws the samples.
    """
    sample = np.asarray(rows[random_subset(len(rows), _MAX_FITTED_SAMPLES, rng)], np.float64)
    center = sample.mean(0)
    _, sizes, directions = np.linalg.svd(sample - center, full_matrices=False)
    axes = np.zeros((2, rows.shape[1]))
    axes[: len(directions[:2])] = directions[:2]
    for axis in axes:
        axis *= -1 if axis[np.abs(axis).argmax()] < 0 else 1
    variances = np.zeros(2)
    variances[: len(sizes[:2])] = np.square(sizes[:2])
    total = np.square(sizes).sum()
    fractions = variances / total if total > 0 else variances
    return Projection(center, axes, (float(fractions[0]), float(fractions[1])))


def random_subset(count: int, size: int, rng: np.random.Generator) -> Integers:
    """Return at most ``size`` of ``count`` positions, drawn without replacement, ascending."""
    if count <= size:
        return np.arange(count)
    return np.sort(rng.choice(count, size, replace=False))
