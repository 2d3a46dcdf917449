"""Kernel distance (KID): the unbiased squared maximum mean discrepancy (MMD) between two sets of features.

References:
    Bińkowski, Sutherland, Arbel, Gretton, "Demystifying MMD GANs", ICLR 2018, arXiv 1801.01401, section 4.
    Gretton et al., "A Kernel Two-Sample Test", JMLR 2012, equation 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from faceter.datasets.samples import ProgressFunction
from workers.evaluation.points import Floats, Integers, Rows

SUBSETS: Final = 100
SIZE: Final = 1000


@dataclass(frozen=True)
class KernelDistance:
    """The distance over random subsets.

    Args:
        mean: Over the subsets.
        deviation: Standard deviation over the subsets, with N − 1.
        subsets: Number of subsets.
        size: Samples of each set in a subset.
    """

    mean: float
    deviation: float
    subsets: int
    size: int


def kernel_distance(
    real: Rows, generated: Rows, rng: np.random.Generator, *, subsets: int = SUBSETS, size: int = SIZE
) -> KernelDistance:
    """Return mean and standard deviation of MMD² with the kernel (x · y / D + 1)³ over random subsets.

    Args:
        real: [N, D].
        generated: [M, D].
        rng: Draws the subsets, each without replacement.
        subsets: Number of subsets, at least 2.
        size: Samples of each set in a subset; fewer if a set has fewer.
    """
    distances = subset_distances(real, generated, draw_subsets(len(real), len(generated), rng, subsets, size))
    return of_subsets(distances, min(size, len(real), len(generated)))


def draw_subsets(
    real: int, generated: int, rng: np.random.Generator, subsets: int = SUBSETS, size: int = SIZE
) -> list[tuple[Integers, Integers]]:
    """Return the positions of the real and of the generated samples of each subset, ascending.

    Args:
        real: N.
        generated: M.
        rng: Draws them.
        subsets: Number of subsets.
        size: Samples of each set in a subset; fewer if a set has fewer.
    """
    size = min(size, real, generated)
    return [
        (np.sort(rng.choice(real, size, replace=False)), np.sort(rng.choice(generated, size, replace=False)))
        for _ in range(subsets)
    ]


def subset_distances(
    real: Rows,
    generated: Rows,
    subsets: Sequence[tuple[Integers, Integers]],
    progress: ProgressFunction = lambda _: None,
) -> Floats:
    """Return MMD² of each subset, float64 [S]; see `draw_subsets`."""
    distances = np.empty(len(subsets))
    for number, (own, other) in enumerate(subsets):
        x, y = np.asarray(real[own], np.float64), np.asarray(generated[other], np.float64)
        distances[number] = squared_mmd(x, y)
        progress((number + 1) / len(subsets))
    return distances


def of_subsets(distances: Floats, size: int) -> KernelDistance:
    """Return the distance over subsets of ``size`` samples."""
    return KernelDistance(float(np.mean(distances)), float(np.std(distances, ddof=1)), len(distances), size)


def squared_mmd(x: Floats, y: Floats) -> float:
    """Return Σ_{i≠j} k(x_i, x_j) / (n (n−1)) + Σ_{i≠j} k(y_i, y_j) / (m (m−1)) − 2 Σ k(x_i, y_j) / (n m).

    The estimator is unbiased, so it can be negative.

    Args:
        x: [n, D], n at least 2.
        y: [m, D], m at least 2.
    """
    within = [(kernel(side, side).sum() - _diagonal(side)) / (len(side) * (len(side) - 1)) for side in (x, y)]
    return float(within[0] + within[1] - 2 * kernel(x, y).mean())


def kernel(x: Floats, y: Floats) -> Floats:
    """Return (x · y / D + 1)³ of all pairs, [n, m]."""
    return np.asarray((x @ y.T / x.shape[1] + 1) ** 3)


def _diagonal(x: Floats) -> float:
    return float(((np.square(x).sum(1) / x.shape[1] + 1) ** 3).sum())
