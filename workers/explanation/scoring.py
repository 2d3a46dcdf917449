"""IoU of formulas and units from counts, and the most that any formula could have."""

from __future__ import annotations

import numpy as np

from faceter.contracts.explanations import Operator
from workers.explanation.patterns import Floats, Patterns


def iou(inside: Floats, size: Floats, firings: Floats) -> Floats:
    """Return |M ∧ F| / |M ∨ F|.

    Args:
        inside: |M ∧ F|, whole numbers.
        size: |F|.
        firings: |M|, positive.

    Returns:
        float64 of the arguments' common shape: the fraction, correctly rounded.
    """
    return np.asarray(inside / (firings + size - inside))


def joined_counts(operator: Operator, of_formula: Floats, of_concept: Floats, of_both: Floats) -> Floats:
    """Return how many pixels a formula has once it is joined with a concept, of all or of those where a unit fires.

    Args:
        operator: What joins them.
        of_formula: Pixels of the formula.
        of_concept: Pixels of the concept.
        of_both: Pixels of both.
    """
    if operator is Operator.AND:
        return of_both
    if operator is Operator.OR:
        return np.asarray(of_formula + of_concept - of_both)
    return np.asarray(of_formula - of_both)


def ceilings(patterns: Patterns, fires: Floats) -> Floats:
    """Return the highest IoU that any formula of any length over these concepts could have, unit by unit.

    The best set of patterns is a prefix of those sorted by u/w: for any threshold t, IoU > t if and only if the sum of
    u − t/(1 + t) · w over the set exceeds what the unit's firings ask for, and each pattern with u/w over t/(1 + t)
    only helps. Pixels without any concept are in no formula.

    Args:
        patterns: The patterns.
        fires: u, pixels of each pattern where the unit fires, float64 [U, P].

    Returns:
        float64 [U]; 0 where a unit never fires.
    """
    weights = patterns.weights.astype(np.float64)
    found = np.zeros(len(fires))
    for row, unit in enumerate(fires):
        some = np.flatnonzero((unit > 0) & ~patterns.blank)
        order = some[np.argsort(-unit[some] / weights[some], kind="stable")]
        inside, size = np.cumsum(unit[order]), np.cumsum(weights[order])
        found[row] = iou(inside, size, unit.sum()).max(initial=0.0)
    return found
