"""Choosing a point of the frontier: by bytes, or by what is measured of models made from its points."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from faceter.contracts.quantizations import TradeOff, TradeOffPoint
from workers.quantization.mixed.pareto import Frontier


@dataclass(frozen=True)
class Choice:
    """The point that was chosen.

    Args:
        index: Where it is in the frontier.
        met: Whether it does what was asked for.
        measured: What was measured, by index, in the order of measuring.
    """

    index: int
    met: bool
    measured: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Reached:
    """A frontier, and where on it a run has ended.

    Args:
        frontier: All points.
        choice: The one that was chosen, and what was measured on the way.
        tuned: Indices of those measured after tuning.
    """

    frontier: Frontier
    choice: Choice
    tuned: frozenset[int] = frozenset()


def choose_by_bytes(frontier: Frontier, max_bytes: int) -> Choice:
    """Choose the least sensitive point of at most ``max_bytes``; the smallest of all, not met, if none is.

    Args:
        frontier: At least one point.
        max_bytes: Most bytes of all weights.
    """
    index = int(np.searchsorted(frontier.weight_bytes, max_bytes, side="right")) - 1
    return Choice(max(index, 0), index >= 0)


def search(
    frontier: Frontier,
    measure: Callable[[TradeOffPoint], float],
    least: float,
    *,
    start: int | None = None,
    most_measured: int = 8,
    resolution: float = 0.02,
) -> Choice:
    """Choose the smallest point whose measure is at least ``least``, measuring as few points as possible.

    Quality is assumed to grow along the frontier, with size and with falling sensitivity. Bytes are then bisected on
    a logarithmic scale until those known to do and those known not to are a share ``resolution`` apart. If no point
    does, the last one tried is the largest of all, and the best of those measured is chosen, not met; if quality
    does not grow everywhere, the point chosen does all the same, but a smaller one that was not tried might as well.

    Args:
        frontier: At least one point.
        measure: Accuracy or agreement of a model made from a point; more is better. Called at most ``most_measured``
            times, never twice for a point.
        least: What to reach.
        start: Index of the point to try first, such as the smallest that should do by prediction; the middle if not
            given.
        most_measured: Most points to measure, at least 1.
        resolution: Share of bytes below which looking further is not worth a measurement.
    """
    last = len(frontier) - 1
    sizes = np.maximum(frontier.weight_bytes, 1)
    fails, does = -1, last + 1
    measured: dict[int, float] = {}
    while does - fails > 1 and len(measured) < most_measured:
        if does <= last and sizes[does] <= (1 + resolution) * sizes[max(fails, 0)]:
            break
        at = _between(sizes, fails, does)
        if start is not None and not measured:
            at = min(max(start, 0), last)
        hopeless = fails >= 0 and sizes[last] <= (1 + resolution) * sizes[fails]
        if does > last and (hopeless or (measured and len(measured) == most_measured - 1)):
            at = last
        measured[at] = measure(frontier[at])
        if measured[at] >= least:
            does = at
        else:
            fails = at
    reached = [index for index, value in measured.items() if value >= least]
    if reached:
        return Choice(min(reached), True, measured)
    best = max(measured.values())
    return Choice(min(index for index, value in measured.items() if value == best), False, measured)


def start_of(frontier: Frontier, least: float) -> int | None:
    """Return the smallest point whose predicted agreement is at least ``least``; None where nothing is predicted."""
    if frontier.predict is None:
        return None
    low, high = 0, len(frontier) - 1
    while low < high:
        middle = (low + high) // 2
        if frontier.predict(float(frontier.sensitivity[middle])) >= least:
            high = middle
        else:
            low = middle + 1
    return low


def trade_off(
    frontier: Frontier,
    choice: Choice,
    *,
    measure: Literal["accuracy", "agreement"],
    original: float,
    tuned: Collection[int] = (),
    most_points: int = 100,
) -> TradeOff:
    """Return what the report says of a frontier and the choice made from it.

    Of a long frontier some ``most_points`` points are told, spread evenly over the logarithm of their bytes; the chosen
    one, those measured and both ends are always among them.

    Args:
        frontier: All points.
        choice: What was chosen and measured.
        measure: What was measured.
        original: The original's.
        tuned: Indices of points measured after tuning.
        most_points: How many points to tell, roughly.
    """
    kept = sorted({choice.index, *choice.measured, *_spread(frontier, most_points)})
    points = [
        frontier[index].model_copy(update={"measured": choice.measured.get(index), "tuned": index in tuned})
        for index in kept
    ]
    return TradeOff(measure=measure, original=original, points=points, chosen=kept.index(choice.index), met=choice.met)


def _between(sizes: np.ndarray, fails: int, does: int) -> int:
    """Return the index strictly between two whose size is nearest to their geometric mean; either may be outside."""
    low, high = sizes[max(fails, 0)], sizes[min(does, len(sizes) - 1)]
    middle = math.sqrt(float(low) * float(high))
    inside = np.arange(fails + 1, does)
    return int(inside[np.abs(np.log(sizes[inside] / middle)).argmin()])


def _spread(frontier: Frontier, most: int) -> set[int]:
    last = len(frontier) - 1
    if last < most:
        return set(range(last + 1))
    logarithms = np.log(np.maximum(frontier.weight_bytes, 1))
    wanted = np.linspace(logarithms[0], logarithms[last], most)
    return {0, last, *np.searchsorted(logarithms, wanted).clip(0, last).tolist()}
