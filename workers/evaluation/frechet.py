"""Fréchet distance of two sets of features, each taken for a normal distribution (FID).

References:
    Heusel, Ramsauer, Unterthiner, Nessler, Hochreiter, "GANs Trained by a Two Time-Scale Update Rule Converge to a
        Local Nash Equilibrium", NeurIPS 2017, arXiv 1706.08500, equation 6.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workers.evaluation.points import Floats, Rows, blocks, let_go

_BLOCK_BYTES = 2**26


@dataclass(frozen=True)
class Moments:
    """Mean and covariance of a set.

    Args:
        count: N.
        mean: float64 [D].
        covariance: float64 [D, D], divided by N − 1.
    """

    count: int
    mean: Floats
    covariance: Floats


def moments(rows: Rows) -> Moments:
    """Return mean and covariance in two passes, a block of rows in memory at a time.

    Args:
        rows: [N, D], N at least 2.
    """
    return weighted_moments(rows, np.ones(len(rows)))


def weighted_moments(rows: Rows, times: Floats) -> Moments:
    """Return mean and covariance of samples each of which counts so many times; see `moments`.

    Args:
        rows: [N, D].
        times: How often each sample counts, float64 [N], at least 2 in all.
    """
    width, count = rows.shape[1], float(times.sum())
    parts = blocks(len(rows), width, _BLOCK_BYTES)
    mean = np.zeros(width)
    for part in parts:
        mean += times[part] @ np.asarray(rows[part], np.float64) / count
        let_go(rows)
    covariance = np.zeros((width, width))
    for part in parts:
        centred = np.asarray(rows[part], np.float64) - mean
        covariance += (centred * times[part, None]).T @ centred / (count - 1)
        let_go(rows)
    return Moments(round(count), mean, covariance)


def frechet_distance(real: Moments, generated: Moments) -> float:
    """Return ‖μ_r − μ_g‖² + Tr(Σ_r + Σ_g − 2 (Σ_r Σ_g)^½).

    The last trace is the sum of the roots of the eigenvalues of Σ_r^½ Σ_g Σ_r^½, which is symmetric and so has none
    that are complex, also where there are fewer samples than features. What rounding leaves below zero is zero.

    Args:
        real: Of the real samples.
        generated: Of the generated ones.
    """
    values, vectors = np.linalg.eigh(real.covariance)
    root = vectors * np.sqrt(values.clip(0))
    product = root.T @ generated.covariance @ root
    common = np.sqrt(np.linalg.eigvalsh((product + product.T) / 2).clip(0)).sum()
    shift = np.square(real.mean - generated.mean).sum()
    return max(0.0, float(shift + np.trace(real.covariance) + np.trace(generated.covariance) - 2 * common))
