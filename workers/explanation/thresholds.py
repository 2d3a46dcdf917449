"""Exact quantiles of activations that are too many to hold: selection by digits.

float32 values are mapped to whole numbers of the same order, and the number sought is found digit by digit: one pass
counts the values of each leading digit, the next those with the digit found, and so on. Memory is a histogram per unit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

Maps = NDArray[np.float32]

_BITS = 32
_DIGITS = (11, 11, 10)
_SIGN = np.uint32(0x8000_0000)


def thresholds(passes: Callable[[], Iterable[Maps]], units: int, share: float) -> NDArray[np.float32]:
    """Return for each unit the smallest of its values that at most a share of them exceeds.

    Args:
        passes: Returns all values from the start, in blocks [units, n] of finite float32.
        units: How many units there are.
        share: Over 0 and under 1.

    Returns:
        float32 [units]: of n values the (⌊share · n⌋ + 1)-th from above, ``numpy.quantile(…, 1 − share,
        method="inverted_cdf")``.
    """
    prefix = np.zeros(units, np.uint32)
    above = np.zeros(units, np.int64)
    allowed = 0
    shift = _BITS
    for bits in _DIGITS:
        histogram = np.zeros((units, 1 << bits), np.int64)
        least, most = _range(prefix, shift)
        for block in passes():
            unit, keys = _ordered(block, least, most)
            digits = (keys >> np.uint32(shift - bits)) & np.uint32((1 << bits) - 1)
            places = unit * (1 << bits) + digits
            histogram += np.bincount(places, minlength=histogram.size).reshape(histogram.shape)
        if shift == _BITS:
            allowed = int(np.floor(share * histogram[0].sum()))
        shift -= bits
        over = above[:, None] + np.cumsum(histogram[:, ::-1], axis=1)
        place = (over > allowed).argmax(axis=1)
        above = np.where(place > 0, np.take_along_axis(over, np.maximum(place - 1, 0)[:, None], 1)[:, 0], above)
        digit = (1 << bits) - 1 - place
        prefix |= digit.astype(np.uint32) << np.uint32(shift)
    return _values(prefix)


def _range(prefix: NDArray[np.uint32], unknown: int) -> tuple[Maps, Maps]:
    """Return the least and the largest value whose leading digits are these.

    Args:
        prefix: The digits, those not known 0, uint32 [units].
        unknown: How many bits are not known.
    """
    ends = _values(prefix), _values(prefix | np.uint32((1 << unknown) - 1))
    least, most = (np.where(np.isnan(end), beyond, end) for end, beyond in zip(ends, (-np.inf, np.inf), strict=True))
    return least.astype(np.float32), most.astype(np.float32)


def _ordered(values: Maps, least: Maps, most: Maps) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """Return the units of the values in their ranges, and these as whole numbers of the same order; −0 is 0."""
    inside = (values >= least[:, None]) & (values <= most[:, None])
    counts = np.count_nonzero(inside, axis=1)
    unit = np.repeat(np.arange(len(values)), counts)
    raw = ((values if counts.sum() == values.size else values[inside]).reshape(-1) + np.float32(0)).view(np.uint32)
    return unit, raw ^ ((raw.view(np.int32) >> 31).view(np.uint32) | _SIGN)


def _values(keys: NDArray[np.uint32]) -> Maps:
    """Return the values that whole numbers stand for."""
    raw = np.where(keys & _SIGN, keys & ~_SIGN, ~keys)
    return raw.astype(np.uint32).view(np.float32)
