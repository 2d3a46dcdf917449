"""How closely the outputs of an engine agree with those of the reference."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Final

import numpy as np

from faceter.contracts.serving import ServingPrecision
from faceter.engines.base import Array

EXACT_DIFFERENCE: Final = 1e-4
"""Largest `difference` that counts as equal."""
FAST_DIFFERENCE: Final = 0.2
"""Largest `difference` where kernels of lower precision are allowed: above it answers are others, not less precise."""
FAST_SAME_CLASS: Final = 0.9
"""Least share of equal classes there."""

_LEAST_CLASSES = 2


@dataclass(frozen=True)
class EngineAgreement:
    """Outputs of an engine beside those of the reference.

    Args:
        difference: See `difference`.
        same_class: Share of samples with the same largest score; None without an output that looks like class scores.
    """

    difference: float
    same_class: float | None = None


def difference(expected: Mapping[str, Array], actual: Mapping[str, Array]) -> float:
    """Return the largest difference over all outputs, each relative to its largest finite absolute value above 1.

    Infinite for other names, shapes or dtypes, for NaN and infinities at other places, and for unequal values that are
    no numbers.
    """
    if set(expected) != set(actual):
        return inf
    return max((_difference(value, actual[name]) for name, value in expected.items()), default=0.0)


def agreement(expected: Mapping[str, Array], actual: Mapping[str, Array]) -> EngineAgreement:
    """Return the difference and the share of equal classes.

    Class scores are outputs of floats [batch, classes] with at least two classes. Ties count as equal where the scores
    are: the engine's class must have the largest expected score.
    """
    shares = [
        _same_class(value, actual[name])
        for name, value in expected.items()
        if name in actual and _has_class_scores(value) and np.shape(value) == np.shape(actual[name])
    ]
    return EngineAgreement(difference(expected, actual), min(shares, default=None))


def is_within(found: EngineAgreement, precision: ServingPrecision) -> bool:
    """Whether an agreement is close enough for a precision."""
    if precision is ServingPrecision.EXACT:
        return found.difference <= EXACT_DIFFERENCE
    return found.difference <= FAST_DIFFERENCE and (found.same_class is None or found.same_class >= FAST_SAME_CLASS)


def _difference(expected: Array, actual: Array) -> float:
    expected, actual = np.asarray(expected), np.asarray(actual)
    if expected.shape != actual.shape or expected.dtype != actual.dtype:
        return inf
    if expected.dtype.kind not in "biuf":
        return 0.0 if np.array_equal(expected, actual) else inf
    before, after = expected.astype(np.float64), actual.astype(np.float64)
    finite = np.isfinite(before)
    if not np.array_equal(before[~finite], after[~finite], equal_nan=True) or not np.all(np.isfinite(after[finite])):
        return inf
    if not finite.any():
        return 0.0
    scale = max(1.0, float(np.abs(before[finite]).max()))
    return float(np.abs(before[finite] - after[finite]).max()) / scale


def _has_class_scores(values: Array) -> bool:
    return values.ndim == 2 and values.shape[0] > 0 and values.shape[1] >= _LEAST_CLASSES and values.dtype.kind == "f"


def _same_class(expected: Array, actual: Array) -> float:
    chosen = np.take_along_axis(expected, actual.argmax(1)[:, None], 1)[:, 0]
    return float(np.mean(chosen == expected.max(1)))
