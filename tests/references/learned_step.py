"""Learned step size quantization value by value, by the equations of Esser et al. 2020."""

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def quantized(v: float, s: float, low: int, high: int) -> float:
    """Equations 1 and 2, with −Q_N = low and Q_P = high: v̂ = ⌊clip(v / s, low, high)⌉ · s, halves to even."""
    return round(min(max(v / s, low), high)) * s


def gradient_of_value(v: float, s: float, low: int, high: int) -> float:
    """Equation 5: 1 inside the clip, 0 outside. The paper counts the ends as outside; they have measure zero."""
    return 1.0 if low <= v / s <= high else 0.0


def gradient_of_step(v: float, s: float, low: int, high: int) -> float:
    """Equation 3: −v/s + ⌊v/s⌉ inside, low or high outside."""
    code = v / s
    if code <= low:
        return low
    if code >= high:
        return high
    return round(code) - code


def step_gradient(values: Array, upstream: Array, s: float, low: int, high: int) -> float:
    """Gradient of one step size: the sum over its values times g = 1 / √(N · Q_P) of section 2.2.

    For codes that are not symmetric about 0, Q_P is the larger end.
    """
    total = 0.0
    for v, u in zip(values.reshape(-1), upstream.reshape(-1), strict=True):
        total += float(u) * gradient_of_step(float(v), s, low, high)
    return total / math.sqrt(values.size * max(abs(low), abs(high), 1))
