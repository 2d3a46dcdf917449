"""Clipped density and clipped coverage: values that read as the share of good samples.

References:
    Salvy, Talbot, Thirion, "Enhanced Generative Model Evaluation with Clipped Density and Coverage", ICLR 2026,
        arXiv 2507.01761.
"""

from __future__ import annotations

import numpy as np
import torch

from workers.evaluation.crossing import Counts, clipped_radii
from workers.evaluation.neighbors import Neighbors
from workers.evaluation.points import Floats


def clipped_density(generated_in: Counts, real_in: Counts, k: int) -> float:
    """Return the mean of min(1, n / k) over generated samples by that over real ones, at most 1.

    Args:
        generated_in: In how many clipped balls each generated sample lies, [M].
        real_in: In how many of the others' each real sample lies, [N].
        k: Which neighbour's distance is the radius before it is clipped.
    """
    generated, real = (np.minimum(counts, k).mean() / k for counts in (generated_in, real_in))
    return float(min(1.0, generated / real)) if real > 0 else 0.0


def balls_of_others(neighbors: Neighbors, k: int) -> Counts:
    """Return in how many clipped balls of other samples each sample of a set lies, [N].

    Args:
        neighbors: Those within the set, more than ``k`` of them where several may be equally far away.
        k: Which neighbour's distance is the radius before it is clipped.
    """
    radii = clipped_radii(neighbors.distances[:, k - 1 : k])
    inside = neighbors.distances <= radii
    return np.bincount(neighbors.indices[inside], minlength=len(radii))


def clipped_coverage(in_ball: Counts, generated: int, k: int) -> float:
    """Return the share of good samples that would cover the real ones as well as the generated ones do.

    The mean of min(k, n) / k over real samples is compared with f(m) = E min(J, k) / k, J beta-binomial(m, k, N − k),
    which is what m samples of the real distribution give: the answer is how many of the m from 0 to M have an f(m)
    below it, by M + 1.

    Args:
        in_ball: How many generated samples lie in the ball of each real one, [N].
        generated: M.
        k: Below N.
    """
    found = np.array([np.minimum(in_ball, k).mean() / k])
    return float(calibrated(found, expected_covered(len(in_ball), generated, k))[0])


def calibrated(covered: Floats, expected: Floats) -> Floats:
    """Return for means over real samples the share of the m from 0 to M whose f(m) lies below, [B].

    Args:
        covered: The means of min(k, n) / k, [B].
        expected: f(m) for m = 0 … M, which rises, [M + 1].
    """
    return np.asarray(np.searchsorted(expected, covered, side="left") / len(expected))


def expected_covered(real: int, generated: int, k: int) -> Floats:
    """Return f(m) for m = 0 … M, which rises: E min(J, k) / k = 1 − Σ_{j<k} (1 − j / k) P(J = j), float64 [M + 1].

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
    found = (1 - (probabilities * (k - j)).sum(1) / k).numpy()
    return np.asarray(np.maximum.accumulate(found))
