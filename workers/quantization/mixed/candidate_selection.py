"""Which point of the Pareto frontier to tune next for a `max_drop` target.

Tuning recovers most of the accuracy that rounding loses, but how much is known only afterwards. The drop by rounding is
quick to measure at any point and serves as the scale: the first candidate is one whose drop by rounding is a multiple
of the allowed drop, and the drop left after tuning it scales the drop by rounding of the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from workers.quantization.mixed.isotonic import isotonic_regression
from workers.quantization.mixed.pareto import ParetoFrontier

_AIM = 0.8
_CLOSE = 0.7
_MAX_FACTOR = 4.0
_SIZE_STEP = 1.15
_TINY = 1e-12


@dataclass(frozen=True)
class TunedPoint:
    """A point of the frontier that was tuned. Drops are fractions of 1.

    Args:
        index: Its index in the frontier.
        rounded_drop: Drop of accuracy after rounding.
        tuned_drop: Drop of accuracy after tuning.
    """

    index: int
    rounded_drop: float
    tuned_drop: float


def next_rounding_drop(last: TunedPoint, allowed: float) -> float:
    """Return the drop by rounding that should leave a little less than ``allowed`` after tuning.

    The drop after tuning is assumed to be proportional to the drop by rounding. It changes by a factor of 4 at most.

    Args:
        allowed: Largest allowed drop after tuning.
    """
    left = max(last.tuned_drop, allowed / 100)
    factor = min(max(_AIM * allowed / left, 1 / _MAX_FACTOR), _MAX_FACTOR)
    return max(last.rounded_drop, allowed / 2) * factor


def interpolated_index(frontier: ParetoFrontier, measured: Mapping[int, float], minimum: float) -> int:
    """Return the smallest point whose accuracy, interpolated between measured points, is at least ``minimum``.

    Accuracy is taken to be linear in log Σ Ω between measured points and non-decreasing in size. No point smaller than
    all measured ones is returned. If no point is accurate enough, the largest is returned.

    Args:
        measured: Accuracy by index, of at least one point.
    """
    known = sorted(measured)
    logarithms = -np.log(np.maximum(frontier.sensitivity, _TINY))
    accuracies = isotonic_regression(np.array([measured[index] for index in known], np.float64))
    enough = np.flatnonzero(np.interp(logarithms, logarithms[known], accuracies) >= minimum)
    return max(int(enough[0]), known[0]) if len(enough) else len(frontier) - 1


def is_close(last: TunedPoint, allowed: float) -> bool:
    """Whether a point meets the target with at least 70 % of the allowed drop, so that a smaller one hardly would."""
    return _CLOSE * allowed <= last.tuned_drop <= allowed


def next_index(
    frontier: ParetoFrontier, index: int, tuned: Sequence[TunedPoint], allowed: float, resolution: float
) -> int | None:
    """Return the point nearest to ``index`` that may be better than those tuned; None if there is none.

    It is smaller than every point that met the target and larger than those that failed. Where ``index`` is not, the
    point half way between the two is returned or, where there is only one of them, the one 15 % of its bytes away.

    Args:
        index: The preferred point.
        allowed: Largest allowed drop.
        resolution: Relative difference in bytes between the two below which another tuning is not worth it.
    """
    met = min((item.index for item in tuned if item.tuned_drop <= allowed), default=len(frontier))
    failed = max((item.index for item in tuned if item.tuned_drop > allowed and item.index < met), default=-1)
    if met - failed <= 1:
        return None
    sizes = frontier.weight_bytes
    if failed >= 0 and met < len(frontier) and sizes[met] <= (1 + resolution) * sizes[failed]:
        return None
    if failed >= 0 and sizes[-1] <= (1 + resolution) * sizes[failed]:
        return None
    if met < len(frontier) and sizes[met] <= (1 + resolution) * sizes[0]:
        return None
    if failed < index < met:
        return index
    low = sizes[failed] if failed >= 0 else sizes[met] / _SIZE_STEP**2
    high = sizes[met] if met < len(frontier) else sizes[failed] * _SIZE_STEP**2
    middle = np.searchsorted(sizes, np.sqrt(float(low) * float(high)))
    return int(np.clip(middle, failed + 1, met - 1))
