"""Where on the frontier to tune next, when what counts is how much is lost after tuning.

Tuning wins back most of what rounding loses, and how much is only known afterwards. So the loss after rounding, which
is quickly measured at any point, serves as a scale: the first try is where rounding loses some times what may be lost,
and from what is left of it after tuning the next try follows in proportion.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from workers.quantization.mixed.pareto import Frontier
from workers.quantization.mixed.sensitivity import isotonic

_AIMED_AT = 0.8
_NEAR = 0.7
_LARGEST_MOVE = 4.0
_LARGEST_STEP = 1.15
_TINY = 1e-12


@dataclass(frozen=True)
class Try:
    """A point of the frontier that was tuned.

    Args:
        index: Which.
        rounded: What it loses after rounding, a share of 1.
        tuned: What it loses after tuning.
    """

    index: int
    rounded: float
    tuned: float


def next_loss(last: Try, allowed: float) -> float:
    """Return the loss after rounding that should leave a little less than ``allowed`` after tuning.

    What tuning leaves is taken to be in proportion to what rounding loses; from one try to the next it is changed by a
    factor of 4 at most.

    Args:
        last: The try before.
        allowed: What may be lost.
    """
    left = max(last.tuned, allowed / 100)
    factor = min(max(_AIMED_AT * allowed / left, 1 / _LARGEST_MOVE), _LARGEST_MOVE)
    return max(last.rounded, allowed / 2) * factor


def foretold(frontier: Frontier, measured: Mapping[int, float], least: float) -> int:
    """Return the smallest point that should be as good as ``least`` by what was measured of others.

    Between points measured quality is taken to be linear in log Σ Ω, and never to fall with size. Of points smaller
    than all of these nothing is known, so none of them is returned; nor is it known that any does if the largest point
    is.

    Args:
        frontier: All points.
        measured: Quality by index, of one point at least.
        least: What to reach.
    """
    known = sorted(measured)
    logarithms = -np.log(np.maximum(frontier.sensitivity, _TINY))
    grades = isotonic(np.array([measured[index] for index in known], np.float64))
    enough = np.flatnonzero(np.interp(logarithms, logarithms[known], grades) >= least)
    return max(int(enough[0]), known[0]) if len(enough) else len(frontier) - 1


def near_enough(last: Try, allowed: float) -> bool:
    """Whether a try meets the target and loses most of what it may, so that a smaller one will hardly meet it."""
    return _NEAR * allowed <= last.tuned <= allowed


def between(frontier: Frontier, index: int, tries: list[Try], allowed: float, resolution: float) -> int | None:
    """Return the point nearest to ``index`` that may still be better than what was tuned; None if there is none.

    It is smaller than every point that met the target, and larger than those that did not. Where ``index`` is not, it
    is half way between the two or, where there is but one of them, 15 % of its bytes away.

    Args:
        frontier: All points.
        index: The point one would like.
        tries: What was tuned.
        allowed: What may be lost.
        resolution: Share of bytes below which the gap between the two is not worth another try.
    """
    does = min((item.index for item in tries if item.tuned <= allowed), default=len(frontier))
    fails = max((item.index for item in tries if item.tuned > allowed and item.index < does), default=-1)
    if does - fails <= 1:
        return None
    sizes = frontier.weight_bytes
    if fails >= 0 and does < len(frontier) and sizes[does] <= (1 + resolution) * sizes[fails]:
        return None
    if fails >= 0 and sizes[-1] <= (1 + resolution) * sizes[fails]:
        return None
    if does < len(frontier) and sizes[does] <= (1 + resolution) * sizes[0]:
        return None
    if fails < index < does:
        return index
    low = sizes[fails] if fails >= 0 else sizes[does] / _LARGEST_STEP**2
    high = sizes[does] if does < len(frontier) else sizes[fails] * _LARGEST_STEP**2
    wanted = np.searchsorted(sizes, np.sqrt(float(low) * float(high)))
    return int(np.clip(wanted, fails + 1, does - 1))
