"""ACIQ's error formulas by numerical integration and sampling."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def mse_by_integration(distribution: str, alpha: float, scale: float, bits: int) -> float:
    """Clipping error by the trapezoidal rule, plus a uniform rounding error Δ²/12 with Δ = 2α / 2^bits."""
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
    """Return the α with the least mean squared error, and that error: 2^bits levels at the centers of equal bins."""
    tried = np.linspace(0.5, 8, 76) if alphas is None else alphas
    results = []
    for alpha in tried:
        step = 2 * alpha / 2**bits
        bins = np.clip(np.floor((samples + alpha) / step), 0, 2**bits - 1)
        error = float(np.mean((samples - (-alpha + (bins + 0.5) * step)) ** 2))
        results.append((float(alpha), error))
    return min(results, key=lambda pair: pair[1])


def laplace_mse(alpha: float, b: float, bits: int) -> float:
    """Mean squared error of clipping Laplace(0, b) to ±α and rounding to 2^bits levels: 2b²e^(−α/b) + α²/(3·4^bits)."""
    return 2 * b * b * math.exp(-alpha / b) + alpha * alpha / (3 * 4.0**bits)


def gaussian_mse(alpha: float, sigma: float, bits: int) -> float:
    """Mean squared error of clipping N(0, σ²) to ±α and rounding to 2^bits levels.

    (α² + σ²)(1 − erf(α / (√2 σ))) − √(2/π) α σ e^(−α² / (2σ²)) + α² / (3·4^bits).
    """
    tail = math.erfc(alpha / (math.sqrt(2) * sigma))
    density = math.sqrt(2 / math.pi) * alpha * sigma * math.exp(-alpha * alpha / (2 * sigma * sigma))
    return (alpha * alpha + sigma * sigma) * tail - density + alpha * alpha / (3 * 4.0**bits)
