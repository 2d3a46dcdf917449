"""Whether units that are explained well are those with which the model is right.

References:
    Mu, Andreas, "Compositional explanations of units", NeurIPS 2020, section 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import pearsonr

from faceter.contracts.analyses import Correlation, InterpretabilityResult, UnitAccuracy
from faceter.contracts.explanations import Unit
from workers.figures.scatter import Panel, interpretability_png

Bits = NDArray[np.bool_]
Floats = NDArray[np.float64]


def interpretability(
    units: Sequence[Unit],
    fires: Bits,
    right: Bits,
    min_samples: int,
    of: Literal["accuracy", "recall"] = "accuracy",
) -> InterpretabilityResult:
    """Return how right the model is where each unit fires, and how that goes with the IoU of its formula.

    Args:
        units: All units.
        fires: In which samples (boxes) each fires, bool [U, N].
        right: Which of them the model gets right, bool [N].
        min_samples: Units that fire in fewer are left out.
        of: What being right is called.
    """
    counts = fires.sum(axis=1)
    shares = (fires & right).sum(axis=1) / np.maximum(counts, 1)
    kept = [row for row, unit in enumerate(units) if unit.scores and counts[row] >= min_samples]
    longest = max((len(units[row].scores) for row in kept), default=0)
    accuracy = shares[kept]
    return InterpretabilityResult(
        of=of,
        overall=float(right.mean()) if len(right) else 0.0,
        correlations=[_correlation(length, _scores(units, kept, length), accuracy) for length in range(1, longest + 1)],
        units=[
            UnitAccuracy(
                layer=units[row].layer,
                unit=units[row].unit,
                samples=int(counts[row]),
                accuracy=float(shares[row]),
                score=units[row].score,
            )
            for row in kept
        ],
    )


def scatter(units: Sequence[Unit], result: InterpretabilityResult, title: str) -> bytes:
    """Return the plot of a result, a PNG."""
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
    """Return the IoU of the formulas of up to a length."""
    return np.array([units[row].scores[min(length, len(units[row].scores)) - 1] for row in rows], np.float64)


def _correlation(length: int, scores: Floats, accuracy: Floats) -> Correlation:
    varies = len(scores) > 2 and np.ptp(scores) > 0 and np.ptp(accuracy) > 0
    if not varies:
        return Correlation(length=length, units=len(scores), r=None, p=None)
    found = pearsonr(scores, accuracy)
    return Correlation(length=length, units=len(scores), r=float(found.statistic), p=float(found.pvalue))
