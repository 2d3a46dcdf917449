"""Samples that lie in all the arrangements that are hard for distances."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def gaussian(count: int, width: int, seed: int = 0) -> Floats:
    """Return samples of a standard normal distribution, [count, width]."""
    return np.random.default_rng(seed).normal(size=(count, width))


def far_away(rows: Floats) -> Floats:
    """Move samples far from the origin."""
    return rows + 1e6


def heavy_tails(rows: Floats) -> Floats:
    """Move a few samples far out."""
    return rows / np.random.default_rng(5).power(0.7, size=(len(rows), 1)) ** 3


def duplicates(rows: Floats) -> Floats:
    """Repeat each sample three times."""
    return np.repeat(rows[: len(rows) // 3 + 1], 3, axis=0)[: len(rows)]


def two_far_clusters(rows: Floats) -> Floats:
    """Split samples into two sets that are far from each other."""
    return rows + 1e5 * (np.arange(len(rows)) % 2)[:, None]


def constant(rows: Floats) -> Floats:
    """Return equal samples."""
    return np.ones_like(rows)


def huge(rows: Floats) -> Floats:
    """Scale samples so that their squares exceed float32."""
    return rows * 1e100


def whole_numbers(rows: Floats) -> Floats:
    """Round samples, so that many distances are equal."""
    return np.rint(rows)


arrangements: list[Callable[[Floats], Floats]] = [
    np.copy,
    far_away,
    heavy_tails,
    duplicates,
    two_far_clusters,
    constant,
    huge,
    whole_numbers,
]
kinds = pytest.mark.parametrize("kind", arrangements)
