"""Correlation of the IoU of formulas with the accuracy of the model where their units fire.

References:
    Mu, Andreas, "Compositional explanations of neurons", NeurIPS 2020, section 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import pearsonr

from faceter.contracts.analyses import Correlation, InterpretabilityResult, UnitAccuracy
from faceter.contracts.units import Unit
from workers.figures.scatter import Panel, interpretability_png

Bits = NDArray[np.bool_]
Floats = NDArray[np.float64]
Metric = Literal["accuracy", "recall"]


def interpretability(
    units: Sequence[Unit],
    fires: Bits,
    correct: Bits,
    min_samples: int,
    metric: Metric = "accuracy",
) -> InterpretabilityResult:
    """Return the accuracy of the model where each unit fires, and its correlation with IoU at each maximum length.

    Args:
        units: All units.
        fires: Samples (boxes) in which each fires, bool [U, N].
        correct: Samples (boxes) that the model predicts correctly, bool [N].
        min_samples: Units that fire in fewer are left out.
        metric: What the fraction of correct ones is called: recall for boxes.
    """
    counts = fires.sum(axis=1)
    accuracies = (fires & correct).sum(axis=1) / np.maximum(counts, 1)
    rows = [row for row, unit in enumerate(units) if unit.scores and counts[row] >= min_samples]
    longest = max((len(units[row].scores) for row in rows), default=0)
    accuracy = accuracies[rows]
    return InterpretabilityResult(
        of=metric,
        overall=float(correct.mean()) if len(correct) else 0.0,
        correlations=[_correlation(length, _scores(units, rows, length), accuracy) for length in range(1, longest + 1)],
        units=[
            UnitAccuracy(
                layer=units[row].layer,
                unit=units[row].unit,
                samples=int(counts[row]),
                accuracy=float(accuracies[row]),
                score=units[row].score,
            )
            for row in rows
        ],
    )


def plot_interpretability(units: Sequence[Unit], result: InterpretabilityResult, title: str) -> bytes:
    """Plot a result, a PNG."""
    by_unit = {(unit.layer, unit.unit): unit for unit in units}
    shown = [by_unit[item.layer, item.unit] for item in result.units]
    accuracy = np.array([item.accuracy for item in result.units])
    return interpretability_png(
        [
            Panel(one.length, _scores(shown, range(len(shown)), one.length), accuracy, one.r, one.p)
            for one in result.correlations
        ],
        title,
    )


def _scores(units: Sequence[Unit], rows: Sequence[int], length: int) -> Floats:
    """Return the IoU of the best formulas of at most a length."""
    return np.array([units[row].scores[min(length, len(units[row].scores)) - 1] for row in rows], np.float64)


def _correlation(length: int, scores: Floats, accuracy: Floats) -> Correlation:
    varies = len(scores) > 2 and np.ptp(scores) > 0 and np.ptp(accuracy) > 0
    if not varies:
        return Correlation(length=length, units=len(scores), r=None, p=None)
    test = pearsonr(scores, accuracy)
    return Correlation(length=length, units=len(scores), r=float(test.statistic), p=float(test.pvalue))
