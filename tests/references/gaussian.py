"""Moments of a clamped Gaussian by summation over a fine grid."""

import numpy as np


def clamped_moments(mean: float, deviation: float, low: float, high: float) -> tuple[float, float, float]:
    """Return E[x], Var[x] and P(x > 0) of clamp(N(mean, deviation²), low, high)."""
    z = np.linspace(-10, 10, 400_001)
    weights = np.exp(-0.5 * z**2)
    weights /= weights.sum()
    x = np.clip(mean + deviation * z, low, high)
    first = float((weights * x).sum())
    return first, float((weights * (x - first) ** 2).sum()), float(weights[x > 0].sum())
