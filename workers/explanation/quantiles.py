"""Exact quantiles of activations that do not fit in memory, by radix selection.

float32 values are mapped to integers of the same order. Each pass over the values fixes one digit of the quantile: it
counts the values by digit among those with the digits known so far. Memory is one histogram per unit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

Maps = NDArray[np.float32]

_BITS = 32
_DIGITS = (11, 11, 10)
_SIGN = np.uint32(0x8000_0000)


def upper_quantiles(passes: Callable[[], Iterable[Maps]], units: int, fraction: float) -> NDArray[np.float32]:
    """Return for each unit the smallest of its values that at most a fraction of them exceeds.

    Args:
        passes: Returns all values from the start, in blocks [units, n] of finite float32.
        units: Number of units.
        fraction: Over 0 and under 1.

    Returns:
        float32 [units]: ``numpy.quantile(…, 1 − fraction, method="inverted_cdf")``, of n values the
        (⌊fraction · n⌋ + 1)-th largest.
    """
    prefix = np.zeros(units, np.uint32)
    above = np.zeros(units, np.int64)
    allowed = 0
    shift = _BITS
    for bits in _DIGITS:
        histogram = np.zeros((units, 1 << bits), np.int64)
        least, most = _range(prefix, shift)
        for block in passes():
            unit, keys = _integers(block, least, most)
            digits = (keys >> np.uint32(shift - bits)) & np.uint32((1 << bits) - 1)
            bins = unit * (1 << bits) + digits
            histogram += np.bincount(bins, minlength=histogram.size).reshape(histogram.shape)
        if shift == _BITS:
            allowed = int(np.floor(fraction * histogram[0].sum()))
        shift -= bits
        at_least = above[:, None] + np.cumsum(histogram[:, ::-1], axis=1)
        place = (at_least > allowed).argmax(axis=1)
        above = np.where(place > 0, np.take_along_axis(at_least, np.maximum(place - 1, 0)[:, None], 1)[:, 0], above)
        digit = (1 << bits) - 1 - place
        prefix |= digit.astype(np.uint32) << np.uint32(shift)
    return _values(prefix)


def _range(prefix: NDArray[np.uint32], unknown: int) -> tuple[Maps, Maps]:
    """Return the smallest and the largest value with these leading digits.

    Args:
        prefix: The known digits, the others 0, uint32 [units].
        unknown: Number of unknown bits.
    """
    ends = _values(prefix), _values(prefix | np.uint32((1 << unknown) - 1))
    least, most = (np.where(np.isnan(end), beyond, end) for end, beyond in zip(ends, (-np.inf, np.inf), strict=True))
    return least.astype(np.float32), most.astype(np.float32)


def _integers(values: Maps, least: Maps, most: Maps) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """Return the values within [least, most] of their unit as order-preserving integers, and their units; −0 is 0."""
    inside = (values >= least[:, None]) & (values <= most[:, None])
    counts = np.count_nonzero(inside, axis=1)
    unit = np.repeat(np.arange(len(values)), counts)
    raw = ((values if counts.sum() == values.size else values[inside]).reshape(-1) + np.float32(0)).view(np.uint32)
    return unit, raw ^ ((raw.view(np.int32) >> 31).view(np.uint32) | _SIGN)


def _values(keys: NDArray[np.uint32]) -> Maps:
    """Return the values of order-preserving integers."""
    raw = np.where(keys & _SIGN, keys & ~_SIGN, ~keys)
    return raw.astype(np.uint32).view(np.float32)
