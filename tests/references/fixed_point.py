"""Fixed-point multiplication of integers by real numbers (Jacob et al. 2018)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def fixed_point(multiplier: Array) -> tuple[Array, int]:
    """Return positive real multipliers M as int32 mantissas M0 and one shift n, with M ≈ 2^−n · M0.

    The largest mantissa lies in [2^30, 2^31), as M0 in [0.5, 1) does as a 32-bit fixed-point number.

    Args:
        multiplier: M, float64 of any shape, positive.

    Returns:
        M0, int64 of the same shape with values below 2^31, and n.

    References:
        Jacob et al., CVPR 2018, arXiv 1712.05877, section 2.2.
    """
    _, exponent = np.frexp(np.max(multiplier))
    shift = 31 - int(exponent)
    mantissa = np.rint(np.ldexp(multiplier.astype(np.float64), shift)).astype(np.int64)
    if np.max(mantissa) == 1 << 31:
        shift -= 1
        mantissa = np.rint(np.ldexp(multiplier.astype(np.float64), shift)).astype(np.int64)
    return mantissa, shift


def rounding_shift(values: Array, shift: int) -> Array:
    """Return ``values / 2^shift`` rounded to nearest, ties to even, int64; a negative shift multiplies."""
    if shift <= 0:
        return values << -shift
    if shift > 62:
        return np.zeros_like(values)
    whole = values >> shift
    rest = values - (whole << shift)
    half = np.int64(1) << np.int64(shift - 1)
    rounded: Array = whole + ((rest > half) | ((rest == half) & (whole & 1 == 1)))
    return rounded


def requantize(terms: list[tuple[Array, Array]], scale: float, zero_point: int, low: int, high: int) -> Array:
    """Return the codes of Σ S_i · v_i at another scale: q = clamp(Z + round(Σ (S_i / S) v_i), low, high).

    Args:
        terms: Integers v_i, int32, each with its scale S_i, positive float64 that broadcasts to it.
        scale: S, the scale of the codes.
        zero_point: Z.
        low: Smallest code.
        high: Largest code.

    Returns:
        Codes, int32.
    """
    multipliers = [np.asarray(own, np.float64) / scale for _, own in terms]
    largest = max(float(np.max(multiplier)) for multiplier in multipliers)
    _, shift = fixed_point(np.array(largest))
    total = np.zeros((), np.int64)
    for (values, _), multiplier in zip(terms, multipliers, strict=True):
        mantissa = np.rint(np.ldexp(multiplier, shift)).astype(np.int64)
        total = total + values.astype(np.int64) * mantissa
    codes: Array = np.clip(rounding_shift(total, shift) + zero_point, low, high).astype(np.int32)
    return codes
