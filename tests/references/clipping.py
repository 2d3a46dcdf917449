"""Slow, obvious versions of ACIQ's error formulas."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def mse_by_integration(distribution: str, alpha: float, scale: float, bits: int) -> float:
    """Clip error by the trapezoidal rule, plus a uniform rounding error of variance Δ²/12 with Δ = 2α / 2^bits."""
    x = np.linspace(alpha, alpha + 60 * scale, 2_000_001)
    if distribution == "laplace":
        density = np.exp(-x / scale) / (2 * scale)
    else:
        density = np.exp(-0.5 * (x / scale) ** 2) / (scale * np.sqrt(2 * np.pi))
    clipped = 2 * np.trapezoid((x - alpha) ** 2 * density, x)
    return float(clipped + (2 * alpha / 2**bits) ** 2 / 12)


def tail_by_integration(distribution: str, distance: float, scale: float) -> float:
    """∫ (x − d)² p(x) dx over x > d by the trapezoidal rule."""
    x = np.linspace(distance, distance + 60 * scale, 2_000_001)
    if distribution == "laplace":
        density = np.exp(-np.abs(x) / scale) / (2 * scale)
    else:
        density = np.exp(-0.5 * (x / scale) ** 2) / (scale * np.sqrt(2 * np.pi))
    return float(np.trapezoid((x - distance) ** 2 * density, x))


def best_alpha_on_samples(
    samples: NDArray[np.float64], bits: int, alphas: Sequence[float] | None = None
) -> tuple[float, float]:
    """Try clips and return the one with the least squared error: 2^bits levels at the middles of equal bins."""
    tried = np.linspace(0.5, 8, 76) if alphas is None else alphas
    results = []
    for alpha in tried:
        step = 2 * alpha / 2**bits
        bins = np.clip(np.floor((samples + alpha) / step), 0, 2**bits - 1)
        error = float(np.mean((samples - (-alpha + (bins + 0.5) * step)) ** 2))
        results.append((float(alpha), error))
    return min(results, key=lambda pair: pair[1])
