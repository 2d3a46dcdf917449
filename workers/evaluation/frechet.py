"""Fréchet distance between Gaussians fitted to two sets of features (FID).

References:
    Heusel, Ramsauer, Unterthiner, Nessler, Hochreiter, "GANs Trained by a Two Time-Scale Update Rule Converge to a
        Local Nash Equilibrium", NeurIPS 2017, arXiv 1706.08500, equation 6.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workers.evaluation.points import Floats, Rows, release_pages, row_blocks_by_bytes

_BLOCK_BYTES = 2**26


@dataclass(frozen=True)
class GaussianMoments:
    """Mean and covariance of a set of features.

    Args:
        count: N.
        mean: float64 [D].
        covariance: float64 [D, D], divided by N − 1.
    """

    count: int
    mean: Floats
    covariance: Floats


def moments(rows: Rows) -> GaussianMoments:
    """Return mean and covariance in two passes, a block of rows in memory at a time.

    Args:
        rows: [N, D], N at least 2.
    """
    return weighted_moments(rows, np.ones(len(rows)))


def weighted_moments(rows: Rows, counts: Floats) -> GaussianMoments:
    """Return mean and covariance of samples repeated ``counts`` times; see `moments`.

    Args:
        rows: [N, D].
        counts: Repetitions of each sample, float64 [N], at least 2 in all.
    """
    width, count = rows.shape[1], float(counts.sum())
    parts = row_blocks_by_bytes(len(rows), width, _BLOCK_BYTES)
    mean = np.zeros(width)
    for part in parts:
        mean += counts[part] @ np.asarray(rows[part], np.float64) / count
        release_pages(rows)
    covariance = np.zeros((width, width))
    for part in parts:
        centred = np.asarray(rows[part], np.float64) - mean
        covariance += (centred * counts[part, None]).T @ centred / (count - 1)
        release_pages(rows)
    return GaussianMoments(round(count), mean, covariance)


def frechet_distance(real: GaussianMoments, generated: GaussianMoments) -> float:
    """Return ‖μ_r − μ_g‖² + Tr(Σ_r + Σ_g − 2 (Σ_r Σ_g)^½).

    The last trace is the sum of the square roots of the eigenvalues of Σ_r^½ Σ_g Σ_r^½, which is symmetric, so they are
    real also if there are fewer samples than features. Negative values from rounding are set to zero.
    """
    values, vectors = np.linalg.eigh(real.covariance)
    root = vectors * np.sqrt(values.clip(0))
    product = root.T @ generated.covariance @ root
    common = np.sqrt(np.linalg.eigvalsh((product + product.T) / 2).clip(0)).sum()
    shift = np.square(real.mean - generated.mean).sum()
    return max(0.0, float(shift + np.trace(real.covariance) + np.trace(generated.covariance) - 2 * common))
