"""Precision, recall, density and coverage (PRDC), and the expected values of density and coverage.

References:
    Naeem, Oh, Uh, Choi, Yoo, "Reliable Fidelity and Diversity Metrics for Generative Models", ICML 2020,
        arXiv 2002.09797 (density, coverage and their expected values).
    Kynkäänniemi, Karras, Laine, Lehtinen, Aila, NeurIPS 2019, arXiv 1904.06991 (precision and recall).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workers.evaluation.cross_distances import CrossDistances
from workers.evaluation.points import Floats


def density(cross: CrossDistances, k: NDArray[np.int64]) -> Floats:
    """Return 1 / (k M) Σ_j Σ_i 1[Y_j ∈ B(X_i)], [K]; it may exceed 1.

    Args:
        cross: Counts for K radii.
        k: The neighbours whose distances are the radii, [K].
    """
    return np.asarray(cross.real_balls_per_generated.mean(0) / k)


def coverage(cross: CrossDistances) -> Floats:
    """Return the fraction of real samples whose ball contains a generated one, [K]."""
    return np.asarray((cross.generated_per_real_ball > 0).mean(0))


def precision(cross: CrossDistances) -> Floats:
    """Return the fraction of generated samples in at least one real ball, [K]."""
    return np.asarray((cross.real_balls_per_generated > 0).mean(0))


def recall(cross: CrossDistances) -> Floats:
    """Return the fraction of real samples in at least one generated ball, [K]."""
    return np.asarray((cross.generated_balls_per_real > 0).mean(0))


EXPECTED_DENSITY = 1.0
"""Of two sets from the same distribution."""


def expected_coverage(real: int, generated: int, k: int) -> float:
    """Return the expected coverage of two sets from the same distribution: 1 − Π_{m<k} (N − 1 − m) / (N + M − 1 − m).

    The N + M − 1 other samples are exchangeable; the ball of a real sample contains a generated one unless its k
    nearest neighbours are all real.

    Args:
        real: N.
        generated: M.
        k: Below N.
    """
    m = np.arange(k)
    return float(1 - np.prod((real - 1 - m) / (real + generated - 1 - m)))
