"""Analytic clipping for integer quantization (ACIQ).

Clipping at α trades the error of the values cut off against the rounding error of the values kept. For bell-shaped
tensors the sum has a closed form, so the best α needs no search over data.

References:
    Banner, Nahshan, Soudry, "Post-training 4-bit quantization of convolutional networks for rapid-deployment",
    NeurIPS 2019, arXiv 1810.05723.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from workers.quantization.gaussian import normal_cumulative, normal_density

Array = NDArray[np.float64]


class Distribution(StrEnum):
    """The shapes ACIQ has a closed form for, each with its one parameter."""

    LAPLACE = "laplace"
    """Parameter b = E|x − E x|."""
    GAUSSIAN = "gaussian"
    """Parameter σ = √Var x."""


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
    """Return α* in units of the distribution's parameter: where dMSE/dα = 0, by bisection.

    Args:
        distribution: Laplace (α* in units of b) or Gaussian (in units of σ).
        bits: Bits of the codes, at least 1.

    Returns:
        2.83, 3.89, 5.03 for Laplace and 1.71, 2.15, 2.55 for Gaussian at 2, 3 and 4 bits.
    """
    slope = _SLOPES[distribution]
    low, high = 0.0, 64.0
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle, bits) < 0 else (low, middle)
    return (low + high) / 2


def better_fit(absolute_deviation: float, deviation: float) -> Distribution:
    """Return the distribution under which the data are likelier at their best parameters.

    The mean log-likelihood is −ln(2b) − 1 for Laplace and −ln(σ√(2π)) − ½ for a Gaussian, so Laplace wins where
    σ / b > √(2e/π) ≈ 1.3155 (Laplace itself has 1.414, a Gaussian 1.253).

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
    """Return the optimal clip α of data with these deviations, in the data's units.

    Args:
        absolute_deviation: b = E|x − E x|.
        deviation: σ.
        bits: Bits of the codes.
    """
    distribution = better_fit(absolute_deviation, deviation)
    parameter = absolute_deviation if distribution is Distribution.LAPLACE else deviation
    return parameter * optimal_clip(distribution, bits)


@dataclass(frozen=True)
class ChannelShapes:
    """The shapes of a tensor's channels, each Laplace or Gaussian, for a clip that all of them share.

    Args:
        location: Centre of each channel, [C].
        absolute_deviation: b of each channel, [C].
        deviation: σ of each channel, [C].
        laplace: Which channels are Laplace, [C]; the others are Gaussian.
        weight: Share of the shape that the channel's values fill: 1, or for the positive half alone, seen as half of a
            shape about 0, twice the share of positive values, [C].
        rounded: Share of all values that rounding touches: 1, or after ReLU the share of positive values.
    """

    location: Array
    absolute_deviation: Array
    deviation: Array
    laplace: NDArray[np.bool_]
    weight: Array
    rounded: float = 1.0

    def tail_error(self, distance: Array) -> Array:
        """Return ∫ (x − d)² p(x) dx over x > d for each channel, d being ``distance`` from its centre, [C].

        Laplace: b² e^(−d/b). Gaussian: (σ² + d²)(1 − Φ(d/σ)) − σ d φ(d/σ). Either is half of the clip error in ACIQ's
        MSE(α).
        """
        b = np.maximum(self.absolute_deviation, 1e-30)
        sigma = np.maximum(self.deviation, 1e-30)
        beyond = np.square(b) * np.exp(-np.abs(distance) / b)
        laplace = np.where(distance >= 0, beyond, 2 * np.square(b) + np.square(distance) - beyond)
        t = distance / sigma
        gaussian = (np.square(sigma) + np.square(distance)) * normal_cumulative(-t) - sigma * distance * normal_density(
            t
        )
        return self.weight * np.maximum(np.where(self.laplace, laplace, gaussian), 0.0)


def optimal_range(
    shapes: ChannelShapes, low: float, high: float, bits: int, *, centre: float, one_sided: bool
) -> tuple[float, float]:
    """Return the range that minimizes ACIQ's expected squared error, averaged over the channels of a tensor.

    For one channel about 0 it is [−α*, α*], or [0, α*] of one more bit after ReLU, as in the paper. Channels
    of a tensor differ in width, so that no one Laplace or Gaussian fits the whole of it; the error of a shared clip is
    the mean of the channels' closed forms, a convex function of α.

    Args:
        shapes: The channels' shapes.
        low: Smallest value of the tensor.
        high: Largest value of the tensor.
        bits: Bits of the codes.
        centre: Middle of a two-sided range.
        one_sided: Whether no value is negative.

    Returns:
        Lower and upper end, within ``low`` and ``high``.
    """

    def error(alpha: float) -> float:
        if one_sided:
            return float(shapes.tail_error(alpha - shapes.location).mean()) + shapes.rounded * alpha**2 / (
                12 * 4.0**bits
            )
        tails = shapes.tail_error(centre + alpha - shapes.location) + shapes.tail_error(
            shapes.location - (centre - alpha)
        )
        return float(tails.mean()) + shapes.rounded * alpha**2 / (3 * 4.0**bits)

    limit = high if one_sided else max(high - centre, centre - low)
    if limit <= 0:
        return low, high
    alpha = _argmin(error, limit)
    return (low, alpha) if one_sided else (max(low, centre - alpha), min(high, centre + alpha))


def _argmin(convex: Callable[[float], float], limit: float) -> float:
    """Return where a convex function is least in [0, limit], by golden section."""
    ratio = (math.sqrt(5) - 1) / 2
    low, high = 0.0, limit
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = convex(left), convex(right)
    for _ in range(48):
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = convex(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = convex(right)
    return high if high >= limit * (1 - 1e-9) else (low + high) / 2


def allocate_bits(alphas: Array, mean_bits: int, *, lowest: int = 2, highest: int = 8) -> NDArray[np.int64]:
    """Share out bits among channels so that their total error is least at a mean of ``mean_bits``.

    The optimum has a number of levels 2^bits proportional to α^(2/3). Here the factor of proportion is the largest for
    which the rounded bits, kept between ``lowest`` and ``highest``, still average at most ``mean_bits``.

    Args:
        alphas: Clip of every channel, [C], not negative.
        mean_bits: Mean bits per channel not to be exceeded.
        lowest: Fewest bits of a channel.
        highest: Most bits of a channel.

    Returns:
        Bits of every channel, [C].
    """
    if not lowest <= mean_bits <= highest:
        raise ValueError(f"mean_bits {mean_bits} is not between {lowest} and {highest}")
    logs = np.full(alphas.shape, -np.inf)
    np.log2(alphas, out=logs, where=alphas > 0)
    logs *= 2 / 3

    def rounded(offset: float) -> NDArray[np.int64]:
        return np.clip(np.rint(np.maximum(logs + offset, -64.0)), lowest, highest).astype(np.int64)

    live = logs[np.isfinite(logs)]
    if live.size == 0:
        return np.full(alphas.shape, lowest, np.int64)
    low, high = lowest - 1 - float(live.max()), highest + 1 - float(live.min())
    if rounded(high).mean() <= mean_bits:
        return rounded(high)
    for _ in range(64):
        middle = (low + high) / 2
        low, high = (middle, high) if rounded(middle).mean() <= mean_bits else (low, middle)
    return _spend_ties(rounded(low), rounded(high), logs, mean_bits)


def _spend_ties(below: NDArray[np.int64], above: NDArray[np.int64], logs: Array, mean_bits: int) -> NDArray[np.int64]:
    """Give what is left of the budget to channels that tie at the threshold, widest and first ones first."""
    spare = mean_bits * below.size - int(below.sum())
    bits = below.copy()
    tied = np.flatnonzero(above > below)
    for channel in tied[np.argsort(-logs[tied], kind="stable")][:spare]:
        bits[channel] += 1
    return bits


def weight_bias_correction(weights: Array, quantized: Array) -> tuple[Array, Array]:
    """Return μ and ξ such that ξ_c (ŵ_c + μ_c) has the mean and the norm of w_c in every channel.

    μ_c = E[w_c] − E[ŵ_c], ξ_c = ‖w_c − E w_c‖ / ‖ŵ_c − E ŵ_c‖. A channel whose codes are all equal keeps ξ = 1.

    Args:
        weights: Float weights, channels first, [C, …].
        quantized: The same weights after quantization, [C, …].

    Returns:
        μ and ξ, each [C].
    """
    w = weights.reshape(weights.shape[0], -1).astype(np.float64)
    w_hat = quantized.reshape(quantized.shape[0], -1).astype(np.float64)
    mu = w.mean(axis=1) - w_hat.mean(axis=1)
    spread = np.linalg.norm(w - w.mean(axis=1, keepdims=True), axis=1)
    spread_hat = np.linalg.norm(w_hat - w_hat.mean(axis=1, keepdims=True), axis=1)
    usable = (spread_hat > 1e-12 * np.maximum(spread, 1e-300)) & (spread > 0)
    return mu, np.where(usable, spread / np.where(usable, spread_hat, 1.0), 1.0)
