"""Moments of a clamped Gaussian, in closed form.

BatchNorm gives each channel mean β and deviation γ before the activation function. After ``clamp(·, low, high)`` (ReLU:
low = 0, high = ∞) mean and variance are still closed expressions, from which data-free methods know E[x].

References:
    Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019,
    arXiv 1906.04721, appendix C.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[np.float64]

_SQRT_2_PI = math.sqrt(2.0 * math.pi)


def normal_density(x: Array) -> Array:
    """Density φ of N(0, 1) at ``x``; 0 at ±∞."""
    return np.exp(-0.5 * np.square(x)) / _SQRT_2_PI


def normal_cumulative(x: Array) -> Array:
    """Distribution function Φ of N(0, 1) at ``x``."""
    values = torch.special.ndtr(torch.from_numpy(np.atleast_1d(np.asarray(x, np.float64)))).numpy()
    return np.asarray(values.reshape(np.shape(x)), np.float64)


@dataclass(frozen=True)
class ClampedGaussian:
    """Independent channels with the distributions clamp(N(mean, deviation²), low, high).

    Args:
        mean: Means before the clamp, [C].
        deviation: Standard deviations before the clamp, [C], not negative; 0 is a constant.
        low: Lower bounds, [C], may be −∞.
        high: Upper bounds, [C], not below ``low``, may be ∞.
    """

    mean: Array
    deviation: Array
    low: Array
    high: Array

    @staticmethod
    def normal(mean: NDArray[np.floating], deviation: NDArray[np.floating]) -> ClampedGaussian:
        """Return unbounded Gaussians with these means and deviations, both [C]."""
        mean64 = np.asarray(mean, np.float64)
        bound = np.full(mean64.shape, np.inf)
        return ClampedGaussian(mean64, np.abs(np.asarray(deviation, np.float64)), -bound, bound)

    def clamp(self, low: float | Array, high: float | Array) -> ClampedGaussian:
        """Return the distribution after a clamp to [low, high], numbers or [C]; ReLU is ``clamp(0, inf)``."""
        return ClampedGaussian(self.mean, self.deviation, np.clip(self.low, low, high), np.clip(self.high, low, high))

    def shift(self, offset: Array) -> ClampedGaussian:
        """Return the distribution of ``x + offset``, [C] or a scalar."""
        return ClampedGaussian(self.mean + offset, self.deviation, self.low + offset, self.high + offset)

    def scale(self, factor: Array) -> ClampedGaussian:
        """Return the distribution of ``x · factor``, [C]."""
        with np.errstate(invalid="ignore"):
            ends = [np.where(factor == 0, 0.0, end * factor) for end in (self.low, self.high)]
        return ClampedGaussian(
            self.mean * factor, self.deviation * np.abs(factor), np.minimum(*ends), np.maximum(*ends)
        )

    def expectation(self) -> Array:
        """E[x] of every channel, [C]; for ReLU γ φ(−β/γ) + β (1 − Φ(−β/γ))."""
        return self._moments()[0]

    def variance(self) -> Array:
        """Var[x] of every channel, [C]."""
        first, second = self._moments()
        return np.maximum(second - np.square(first), 0.0)

    def positive_mass(self) -> Array:
        """P(x > 0) of every channel, [C]."""
        with np.errstate(divide="ignore", invalid="ignore"):
            below = normal_cumulative(np.where(self.deviation > 0, -self.mean / self.deviation, 0.0))
        mass = np.where(self.deviation > 0, 1.0 - below, (self.mean > 0).astype(np.float64))
        return np.where(self.low > 0, 1.0, np.where(self.high <= 0, 0.0, mass))

    def bounds(self, deviations: float) -> tuple[Array, Array]:
        """Return mean ± ``deviations`` · deviation after the clamp, both [C]."""
        half_width = deviations * self.deviation
        return np.clip(self.mean - half_width, self.low, self.high), np.clip(
            self.mean + half_width, self.low, self.high
        )

    def _moments(self) -> tuple[Array, Array]:
        safe = np.where(self.deviation > 0, self.deviation, 1.0)
        a, b = (self.low - self.mean) / safe, (self.high - self.mean) / safe
        below, above = normal_cumulative(a), normal_cumulative(-b)
        inside = 1.0 - below - above
        density_a, density_b = normal_density(a), normal_density(b)
        low, high = _finite(self.low), _finite(self.high)
        first = low * below + high * above + self.mean * inside + safe * (density_a - density_b)
        second = (
            low**2 * below
            + high**2 * above
            + (self.mean**2 + safe**2) * inside
            + 2 * self.mean * safe * (density_a - density_b)
            + safe**2 * (_finite(a) * density_a - _finite(b) * density_b)
        )
        constant = np.clip(self.mean, self.low, self.high)
        is_constant = self.deviation <= 0
        return np.where(is_constant, constant, first), np.where(is_constant, constant**2, second)


def _finite(x: Array) -> Array:
    """Return ``x`` with ±∞ replaced by 0, where its probability or density is 0."""
    return np.where(np.isfinite(x), x, 0.0)
