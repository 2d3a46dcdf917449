"""ACIQ's per-channel bit allocation and weight bias correction.

References:
    Banner, Nahshan, Soudry, "Post-training 4-bit quantization of convolutional networks for rapid-deployment",
    NeurIPS 2019, arXiv 1810.05723.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def allocate_bits(alphas: Array, mean_bits: int, *, lowest: int = 2, highest: int = 8) -> NDArray[np.int64]:
    """Return the bits of every channel, [C], with the least total error at a mean of at most ``mean_bits``.

    The optimal number of levels 2^bits is proportional to α^(2/3) (ACIQ, per-channel bit allocation). The factor is the
    largest for which the rounded and clamped bits average at most ``mean_bits``.

    Args:
        alphas: Clip of every channel, [C], not negative.
        lowest: Fewest bits of a channel.
        highest: Most bits of a channel.

    Raises:
        ValueError: If ``mean_bits`` is not between the two.
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
    """Give the rest of the budget to channels that tie at the threshold, widest first, then in order."""
    spare = mean_bits * below.size - int(below.sum())
    bits = below.copy()
    tied = np.flatnonzero(above > below)
    for channel in tied[np.argsort(-logs[tied], kind="stable")][:spare]:
        bits[channel] += 1
    return bits


def weight_bias_correction(weights: Array, quantized: Array) -> tuple[Array, Array]:
    """Return μ and ξ, [C] each, such that ξ_c (ŵ_c + μ_c) has the mean and norm of w_c (ACIQ, bias correction).

    μ_c = E[w_c] − E[ŵ_c], ξ_c = ‖w_c − E w_c‖ / ‖ŵ_c − E ŵ_c‖; ξ is 1 for channels with all codes equal.

    Args:
        weights: Float weights, channels first, [C, …].
        quantized: The same weights after quantization, [C, …].
    """
    w = weights.reshape(weights.shape[0], -1).astype(np.float64)
    w_hat = quantized.reshape(quantized.shape[0], -1).astype(np.float64)
    mu = w.mean(axis=1) - w_hat.mean(axis=1)
    spread = np.linalg.norm(w - w.mean(axis=1, keepdims=True), axis=1)
    spread_hat = np.linalg.norm(w_hat - w_hat.mean(axis=1, keepdims=True), axis=1)
    usable = (spread_hat > 1e-12 * np.maximum(spread, 1e-300)) & (spread > 0)
    return mu, np.where(usable, spread / np.where(usable, spread_hat, 1.0), 1.0)
