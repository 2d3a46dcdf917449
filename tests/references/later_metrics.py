"""Clipped density and coverage, probabilistic precision and recall, and authenticity by their definitions."""

from fractions import Fraction
from math import comb

import numpy as np
from numpy.typing import NDArray

from tests.references.neighbors import distances, nearest_within

Floats = NDArray[np.float64]


def clipped_density(real: Floats, generated: Floats, k: int) -> float:
    """Return the mean of min(1, n / k) over generated samples by that over real ones, at most 1."""
    radii = nearest_within(real, k)[:, -1]
    clipped = np.minimum(radii, np.median(radii))[:, None]
    own = distances(real, real)
    np.fill_diagonal(own, np.inf)
    means = [np.minimum(1, (found <= clipped).sum(0) / k).mean() for found in (distances(real, generated), own)]
    return float(min(1.0, means[0] / means[1]))


def expected_clipped_coverage(real: int, generated: int, k: int) -> list[Fraction]:
    """Return E min(J, k) / k for m = 0 … M as fractions.

    J = j if, all orders being alike, j of m generated samples come before the k-th of a real sample's N − 1 others.
    """
    others = real - 1

    def probability(m: int, j: int) -> Fraction:
        return Fraction(comb(k + j - 1, j) * comb(others - k + m - j, m - j), comb(others + m, m))

    return [sum((min(j, k) * probability(m, j) for j in range(m + 1)), Fraction(0)) / k for m in range(generated + 1)]


def clipped_coverage(real: Floats, generated: Floats, k: int) -> float:
    """Return the fraction of m whose expected coverage lies below the observed one."""
    inside = distances(real, generated) < nearest_within(real, k)[:, -1][:, None]
    found = np.minimum(inside.sum(1), k).mean() / k
    expected = expected_clipped_coverage(len(real), len(generated), k)
    return float(sum(float(value) < found for value in expected) / (len(generated) + 1))


def probabilistic_precision(real: Floats, generated: Floats) -> float:
    """Return the mean of 1 − Π (1 − max(0, 1 − d / (1.2 R)))."""
    radius = 1.2 * nearest_within(real, 4)[:, -1].mean()
    inside = np.maximum(0, 1 - distances(real, generated) / radius)
    return float((1 - np.prod(1 - inside, axis=0)).mean())


def authenticity(real: Floats, generated: Floats) -> float:
    """Return the fraction of generated samples farther from their nearest real one than that is from any other."""
    between, own = distances(real, generated), nearest_within(real, 1)[:, 0]
    nearest = between.argmin(0)
    return float((between.min(0) > own[nearest]).mean())
