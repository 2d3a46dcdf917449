"""The trade-off between size and accuracy in the report, and whether the target is met."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import numpy as np

from faceter.contracts.quantizations import Size, Target, TradeOff
from workers.quantization.mixed.accuracy import AccuracyMeasurement
from workers.quantization.mixed.frontier_search import FrontierChoice
from workers.quantization.mixed.pareto import ParetoFrontier

_MAX_POINTS = 100
_TINY = 1e-9


@dataclass(frozen=True, eq=False)
class AllocationResult:
    """The chosen bit allocation.

    Args:
        frontier: All candidate allocations.
        choice: The chosen one, and the accuracies measured on the way.
        tuned: Indices of those measured after tuning.
    """

    frontier: ParetoFrontier
    choice: FrontierChoice
    tuned: frozenset[int] = frozenset()


def measured_trade_off(result: AllocationResult, target: Target, accuracy: AccuracyMeasurement, size: Size) -> TradeOff:
    """Return the trade-off for the report, once the exported file has been measured.

    Args:
        accuracy: Of the exported file.
        size: Of the exported file.
    """
    if target.max_bytes is not None:
        met = size.weights_packed <= target.max_bytes
    else:
        met = accuracy.before - accuracy.after <= (target.max_drop or 0.0) / 100 + _TINY
    index = result.choice.index
    choice = FrontierChoice(index, met, {**result.choice.measured, index: accuracy.after})
    return trade_off(result.frontier, choice, measure=accuracy.measure, original=accuracy.before, tuned=result.tuned)


def trade_off(
    frontier: ParetoFrontier,
    choice: FrontierChoice,
    *,
    measure: Literal["accuracy", "agreement"],
    original: float,
    tuned: Collection[int] = (),
    max_points: int = _MAX_POINTS,
) -> TradeOff:
    """Return a frontier and the choice from it for the report.

    Of a long frontier about ``max_points`` points are kept, evenly spaced in the logarithm of bytes; the chosen point,
    those measured and both ends are always among them.

    Args:
        original: Accuracy of the float network; 1 for agreement.
        tuned: Indices of points measured after tuning.
    """
    kept = sorted({choice.index, *choice.measured, *_evenly_spaced(frontier, max_points)})
    points = [
        frontier[index].model_copy(update={"measured": choice.measured.get(index), "tuned": index in tuned})
        for index in kept
    ]
    return TradeOff(measure=measure, original=original, points=points, chosen=kept.index(choice.index), met=choice.met)


def target_warnings(target: Target | None, trade_off: TradeOff | None, size: Size) -> list[str]:
    """Say whether the target is met, and with which numbers; nothing without a target."""
    if target is None or trade_off is None:
        return []
    if target.max_bytes is not None:
        achieved, limit = f"weights take {size.weights_packed:,} bytes", f"{target.max_bytes:,}"
    else:
        drop = 100 * (trade_off.original - (trade_off.points[trade_off.chosen].measured or 0.0))
        achieved, limit = f"{drop:.2f} points of {trade_off.measure} are lost", f"{target.max_drop:g}"
    if trade_off.met:
        return [f"The target is met: {achieved}; at most {limit} were allowed."]
    return [f"The target is not met: {achieved}; at most {limit} were allowed. This is the best network measured."]


def _evenly_spaced(frontier: ParetoFrontier, count: int) -> set[int]:
    last = len(frontier) - 1
    if last < count:
        return set(range(last + 1))
    logarithms = np.log(np.maximum(frontier.weight_bytes, 1))
    spaced = np.linspace(logarithms[0], logarithms[last], count)
    return {0, last, *np.searchsorted(logarithms, spaced).clip(0, last).tolist()}
