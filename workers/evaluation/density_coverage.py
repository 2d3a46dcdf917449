"""Density and coverage, precision and recall, and what density and coverage should be.

References:
    Naeem, Oh, Uh, Choi, Yoo, "Reliable Fidelity and Diversity Metrics for Generative Models", ICML 2020,
        arXiv 2002.09797 (density, coverage and their expected values).
    Kynkäänniemi, Karras, Laine, Lehtinen, Aila, NeurIPS 2019, arXiv 1904.06991 (precision and recall).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workers.evaluation.crossing import Crossing
from workers.evaluation.points import Floats


def density(crossing: Crossing, k: NDArray[np.int64]) -> Floats:
    """Return 1 / (k M) Σ_j Σ_i 1[Y_j ∈ B(X_i)], [K]; it may exceed 1.

    Args:
        crossing: Of K kinds of balls.
        k: Which neighbour's distance is their radius, [K].
    """
    return np.asarray(crossing.real_balls.mean(0) / k)


def coverage(crossing: Crossing) -> Floats:
    """Return the share of real samples in whose ball there is a generated one, [K]."""
    return np.asarray((crossing.in_real_ball > 0).mean(0))


def precision(crossing: Crossing) -> Floats:
    """Return the share of generated samples in any real ball, [K]."""
    return np.asarray((crossing.real_balls > 0).mean(0))


def recall(crossing: Crossing) -> Floats:
    """Return the share of real samples in any generated ball, [K]."""
    return np.asarray((crossing.generated_balls > 0).mean(0))


EXPECTED_DENSITY = 1.0
"""Of two sets from one distribution."""


def expected_coverage(real: int, generated: int, k: int) -> float:
    """Return the coverage of two sets from one distribution: 1 − Π_{m<k} (N − 1 − m) / (N + M − 1 − m).

    Among a real sample's N + M − 1 companions, all equally likely to be any of them, its ball holds a generated one
    unless the k nearest are real.

    Args:
        real: N.
        generated: M.
        k: Below N.
    """
    m = np.arange(k)
    return float(1 - np.prod((real - 1 - m) / (real + generated - 1 - m)))
