"""ACIQ's analytical clipping: the optimal clip of one Laplace or Gaussian tensor.

Clipping at α trades the error of clipped values against the rounding error of the others. For Laplace and Gaussian
tensors the sum has a closed form, so that the optimal α needs no search over data.

References:
    Banner, Nahshan, Soudry, "Post-training 4-bit quantization of convolutional networks for rapid-deployment",
    NeurIPS 2019, arXiv 1810.05723.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from enum import StrEnum


class Distribution(StrEnum):
    """Distributions with a closed-form optimal clip, each with one parameter."""

    LAPLACE = "laplace"
    """Parameter b = E|x − E x|."""
    GAUSSIAN = "gaussian"
    """Parameter σ = √Var x."""


def _laplace_slope(alpha: float, bits: int) -> float:
    return -2 * math.exp(-alpha) + 2 * alpha / (3 * 4.0**bits)


def _gaussian_slope(alpha: float, bits: int) -> float:
    tail = 2 * alpha * math.erfc(alpha / math.sqrt(2))
    return tail - 2 * math.sqrt(2 / math.pi) * math.exp(-alpha * alpha / 2) + 2 * alpha / (3 * 4.0**bits)


_SLOPES: dict[Distribution, Callable[[float, int], float]] = {
    Distribution.LAPLACE: _laplace_slope,
    Distribution.GAUSSIAN: _gaussian_slope,
}


@functools.cache
def optimal_clip(distribution: Distribution, bits: int) -> float:
    """Return α* in units of the distribution's parameter: the root of dMSE/dα, by bisection.

    MSE(α) is 2b² e^(−α/b) + α² / (3·4^M) for Laplace, and
    (α² + σ²)(1 − erf(α / (√2 σ))) − √(2/π) α σ e^(−α² / (2σ²)) + α² / (3·4^M) for a Gaussian.

    Args:
        bits: M, at least 1.

    Returns:
        2.83, 3.89, 5.03 for Laplace (units of b) and 1.71, 2.15, 2.55 for Gaussian (units of σ) at 2, 3 and 4 bits.
    """
    slope = _SLOPES[distribution]
    low, high = 0.0, 64.0
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle, bits) < 0 else (low, middle)
    return (low + high) / 2


def better_fit(absolute_deviation: float, deviation: float) -> Distribution:
    """Return the distribution of the larger likelihood at its best parameter.

    The mean log-likelihood is −ln(2b) − 1 for Laplace and −ln(σ√(2π)) − ½ for a Gaussian, so that Laplace fits better
    if σ / b > √(2e/π) ≈ 1.3155 (Laplace itself has 1.414, a Gaussian 1.253).

    Args:
        absolute_deviation: b = E|x − E x|.
        deviation: σ.
    """
    return (
        Distribution.LAPLACE
        if deviation > math.sqrt(2 * math.e / math.pi) * absolute_deviation
        else Distribution.GAUSSIAN
    )


def clip_value(absolute_deviation: float, deviation: float, bits: int) -> float:
    """Return the optimal clip α of data, in the data's units.

    Args:
        absolute_deviation: b = E|x − E x|.
        deviation: σ.
    """
    distribution = better_fit(absolute_deviation, deviation)
    parameter = absolute_deviation if distribution is Distribution.LAPLACE else deviation
    return parameter * optimal_clip(distribution, bits)
