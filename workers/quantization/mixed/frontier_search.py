"""Searching the Pareto frontier: by bytes, or by bisection over the measured accuracy of its points."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from faceter.contracts.quantizations import TradeOffPoint
from workers.quantization.mixed.pareto import ParetoFrontier


@dataclass(frozen=True)
class FrontierChoice:
    """The chosen point.

    Args:
        index: Its index in the frontier.
        met: Whether it meets the target.
        measured: Measured accuracy by index, in the order of measuring.
    """

    index: int
    met: bool
    measured: Mapping[int, float] = field(default_factory=dict)


def choose_by_bytes(frontier: ParetoFrontier, max_bytes: int) -> FrontierChoice:
    """Choose the least sensitive point of at most ``max_bytes``; the smallest of all, not met, if there is none.

    Args:
        frontier: At least one point.
        max_bytes: Most bytes of all weights.
    """
    index = int(np.searchsorted(frontier.weight_bytes, max_bytes, side="right")) - 1
    return FrontierChoice(max(index, 0), index >= 0)


def bisect(
    frontier: ParetoFrontier,
    measure: Callable[[TradeOffPoint], float],
    minimum: float,
    *,
    start: int | None = None,
    max_measurements: int = 8,
    resolution: float = 0.02,
) -> FrontierChoice:
    """Choose the smallest point whose accuracy is at least ``minimum``, measuring as few points as possible.

    Accuracy is assumed to grow along the frontier. Bytes are bisected on a logarithmic scale until the smallest point
    that meets the minimum and the largest that fails are within ``resolution`` of each other. If no point meets it, the
    largest is measured last, and the best measured point is chosen, not met. Where accuracy does not grow everywhere,
    the chosen point still meets the minimum, but a smaller unmeasured one might too.

    Args:
        frontier: At least one point.
        measure: Accuracy or agreement of a model at a point. Called at most once for a point.
        start: Index of the point to measure first; the middle if not given.
        max_measurements: At least 1.
        resolution: Relative difference in bytes below which no further point is measured.
    """
    last = len(frontier) - 1
    sizes = np.maximum(frontier.weight_bytes, 1)
    failed, met = -1, last + 1
    measured: dict[int, float] = {}
    while met - failed > 1 and len(measured) < max_measurements:
        if met <= last and sizes[met] <= (1 + resolution) * sizes[max(failed, 0)]:
            break
        index = _middle(sizes, failed, met)
        if start is not None and not measured:
            index = min(max(start, 0), last)
        hopeless = failed >= 0 and sizes[last] <= (1 + resolution) * sizes[failed]
        if met > last and (hopeless or (measured and len(measured) == max_measurements - 1)):
            index = last
        measured[index] = measure(frontier[index])
        if measured[index] >= minimum:
            met = index
        else:
            failed = index
    meeting = [index for index, value in measured.items() if value >= minimum]
    if meeting:
        return FrontierChoice(min(meeting), True, measured)
    best = max(measured.values())
    return FrontierChoice(min(index for index, value in measured.items() if value == best), False, measured)


def predicted_index(frontier: ParetoFrontier, minimum: float) -> int | None:
    """Return the smallest point whose predicted agreement is at least ``minimum``, else the largest.

    None where the frontier predicts nothing.
    """
    if frontier.predict is None:
        return None
    low, high = 0, len(frontier) - 1
    while low < high:
        middle = (low + high) // 2
        if frontier.predict(float(frontier.sensitivity[middle])) >= minimum:
            high = middle
        else:
            low = middle + 1
    return low


def _middle(sizes: np.ndarray, failed: int, met: int) -> int:
    """Return the index strictly between two whose size is nearest to their geometric mean; either may be outside."""
    low, high = sizes[max(failed, 0)], sizes[min(met, len(sizes) - 1)]
    middle = math.sqrt(float(low) * float(high))
    inside = np.arange(failed + 1, met)
    return int(inside[np.abs(np.log(sizes[inside] / middle)).argmin()])
