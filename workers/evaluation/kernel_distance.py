"""Kernel distance (KID): the unbiased squared maximum mean discrepancy (MMD) between two sets of features.

References:
    Bińkowski, Sutherland, Arbel, Gretton, "Demystifying MMD GANs", ICLR 2018, arXiv 1801.01401, section 4.
    Gretton et al., "A Kernel Two-Sample Test", JMLR 2012, equation 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workers.evaluation.points import Floats, Rows


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
    real: Rows, generated: Rows, rng: np.random.Generator, *, subsets: int = 100, size: int = 1000
) -> KernelDistance:
    """Return mean and standard deviation of MMD² with the kernel (x · y / D + 1)³ over random subsets.

    Args:
        real: [N, D].
        generated: [M, D].
        rng: Draws the subsets, each without replacement.
        subsets: Number of subsets, at least 2.
        size: Samples of each set in a subset; fewer if a set has fewer.
    """
    size = min(size, len(real), len(generated))
    distances = []
    for _ in range(subsets):
        x, y = (
            np.asarray(rows[np.sort(rng.choice(len(rows), size, replace=False))], np.float64)
            for rows in (real, generated)
        )
        distances.append(squared_mmd(x, y))
    return KernelDistance(float(np.mean(distances)), float(np.std(distances, ddof=1)), subsets, size)


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
