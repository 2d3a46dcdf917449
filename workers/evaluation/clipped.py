"""Clipped density and clipped coverage: calibrated to the fraction of good samples.

References:
    Salvy, Talbot, Thirion, "Enhanced Generative Model Evaluation with Clipped Density and Coverage", ICLR 2026,
        arXiv 2507.01761.
"""

from __future__ import annotations

import numpy as np
import torch

from workers.evaluation.cross_distances import Counts, clipped_radii
from workers.evaluation.neighbors import Neighbors
from workers.evaluation.points import Floats


def clipped_density(generated_balls: Counts, real_balls: Counts, k: int) -> float:
    """Return the mean of min(1, n / k) over generated samples divided by that over real ones, at most 1.

    Args:
        generated_balls: Number of clipped balls that each generated sample lies in, [M].
        real_balls: Number of clipped balls of other samples that each real sample lies in, [N].
        k: The neighbour whose distance is the radius before clipping.
    """
    generated, real = (np.minimum(counts, k).mean() / k for counts in (generated_balls, real_balls))
    return float(min(1.0, generated / real)) if real > 0 else 0.0


def clipped_balls_within(neighbors: Neighbors, k: int) -> Counts:
    """Return the number of clipped balls of other samples that each sample of a set lies in, [N].

    Args:
        neighbors: Within the set, more than ``k`` where there may be ties.
        k: The neighbour whose distance is the radius before clipping.
    """
    radii = clipped_radii(neighbors.distances[:, k - 1 : k])
    inside = neighbors.distances <= radii
    return np.bincount(neighbors.indices[inside], minlength=len(radii))


def clipped_coverage(generated_per_ball: Counts, generated: int, k: int) -> float:
    """Return the fraction of good samples that would cover the real ones as well as the generated ones do.

    The mean of min(k, n) / k over real samples is compared with f(m) = E min(J, k) / k, J beta-binomial(m, k, N − k),
    its expectation for m samples of the real distribution. The value is the number of m in 0 … M with a smaller f(m),
    divided by M + 1.

    Args:
        generated_per_ball: Number of generated samples in the ball of each real one, [N].
        generated: M.
        k: Below N.
    """
    uncalibrated = np.array([np.minimum(generated_per_ball, k).mean() / k])
    return float(calibrate(uncalibrated, expected_clipped_coverage(len(generated_per_ball), generated, k))[0])


def calibrate(uncalibrated: Floats, expected: Floats) -> Floats:
    """Return the fraction of m in 0 … M whose f(m) lies below each value, [B].

    Args:
        uncalibrated: Means of min(k, n) / k over real samples, [B].
        expected: f(m) for m = 0 … M, ascending, [M + 1].
    """
    return np.asarray(np.searchsorted(expected, uncalibrated, side="left") / len(expected))


def expected_clipped_coverage(real: int, generated: int, k: int) -> Floats:
    """Return f(m) for m = 0 … M, ascending: E min(J, k) / k = 1 − Σ_{j<k} (1 − j / k) P(J = j), float64 [M + 1].

    Args:
        real: N.
        generated: M.
        k: Below N.
    """
    m = torch.arange(generated + 1, dtype=torch.float64)[:, None]
    j = torch.arange(k, dtype=torch.float64)
    a, b = float(k), float(real - k)
    rest = (m - j).clamp_min(0)
    logs = (
        torch.lgamma(m + 1) - torch.lgamma(j + 1) - torch.lgamma(rest + 1)
        + torch.lgamma(j + a) + torch.lgamma(rest + b) - torch.lgamma(m + a + b)
        + torch.lgamma(torch.tensor(a + b, dtype=torch.float64))
        - torch.lgamma(torch.tensor(a, dtype=torch.float64))
        - torch.lgamma(torch.tensor(b, dtype=torch.float64))
    )  # fmt: skip
    probabilities = torch.where(j <= m, logs.exp(), 0.0)
    expected = (1 - (probabilities * (k - j)).sum(1) / k).numpy()
    return np.asarray(np.maximum.accumulate(expected))
