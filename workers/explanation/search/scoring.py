"""IoU of formulas from counts, and its upper bound over all formulas."""

from __future__ import annotations

import numpy as np

from faceter.contracts.explanations import Operator
from workers.explanation.search.patterns import Floats, Patterns


def iou(intersection: Floats, size: Floats, firings: Floats) -> Floats:
    """Return |M ∧ F| / |M ∨ F|, float64, correctly rounded; arguments are broadcast.

    Args:
        intersection: |M ∧ F|, integers.
        size: |F|.
        firings: |M|, positive.
    """
    return np.asarray(intersection / (firings + size - intersection))


def joined_counts(operator: Operator, of_formula: Floats, of_concept: Floats, of_both: Floats) -> Floats:
    """Return the pixels of a formula joined with a concept; works for |F| and for |M ∧ F|.

    Args:
        operator: OR, AND or AND NOT.
        of_formula: Pixels of the formula.
        of_concept: Pixels of the concept.
        of_both: Pixels of both.
    """
    if operator is Operator.AND:
        return of_both
    if operator is Operator.OR:
        return np.asarray(of_formula + of_concept - of_both)
    return np.asarray(of_formula - of_both)


def iou_upper_bounds(patterns: Patterns, fires: Floats) -> Floats:
    """Return the highest IoU that any set of patterns has, which no formula of any length exceeds.

    The best set is a prefix of the patterns sorted by u/w: IoU > t if and only if Σ u − t/(1 + t) · w over the set
    exceeds t/(1 + t) · |M|, and every pattern with u/w over t/(1 + t) adds to that sum. Pixels without concepts are in
    no formula.

    Args:
        patterns: P patterns.
        fires: u, pixels of each pattern where the unit fires, float64 [U, P].

    Returns:
        float64 [U]; 0 for a unit that never fires.
    """
    weights = patterns.weights.astype(np.float64)
    bounds = np.zeros(len(fires))
    for row, unit in enumerate(fires):
        some = np.flatnonzero((unit > 0) & ~patterns.unlabelled)
        order = some[np.argsort(-unit[some] / weights[some], kind="stable")]
        intersection, size = np.cumsum(unit[order]), np.cumsum(weights[order])
        bounds[row] = iou(intersection, size, unit.sum()).max(initial=0.0)
    return bounds
