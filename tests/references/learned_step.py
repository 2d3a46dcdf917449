"""Learned step size quantization, value by value: the equations of Esser et al. 2020 as they are printed."""

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def quantized(v: float, s: float, low: int, high: int) -> float:
    """Equations 1 and 2, with −Q_N = low and Q_P = high: v̂ = ⌊clip(v / s, low, high)⌉ · s, halves to even."""
    return round(min(max(v / s, low), high)) * s


def slope_of_value(v: float, s: float, low: int, high: int) -> float:
    """Equation 5: 1 inside the clip, 0 outside. The paper gives the ends to the outside; they are of measure zero."""
    return 1.0 if low <= v / s <= high else 0.0


def slope_of_step(v: float, s: float, low: int, high: int) -> float:
    """Equation 3: −v/s + ⌊v/s⌉ inside, low or high outside."""
    code = v / s
    if code <= low:
        return low
    if code >= high:
        return high
    return round(code) - code


def step_gradient(values: Array, upstream: Array, s: float, low: int, high: int) -> float:
    """The gradient of one step: the sum over the values that share it, times g = 1 / √(N · Q_P) of section 2.2.

    Codes may lie unevenly about the code of zero here; Q_P is then the larger end.
    """
    total = 0.0
    for v, u in zip(values.reshape(-1), upstream.reshape(-1), strict=True):
        total += float(u) * slope_of_step(float(v), s, low, high)
    return total / math.sqrt(values.size * max(abs(low), abs(high), 1))
