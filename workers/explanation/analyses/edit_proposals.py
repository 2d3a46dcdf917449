"""Edits that formulas propose to change a prediction (copy-paste adversarial examples).

References:
    Mu, Andreas, "Compositional explanations of neurons", NeurIPS 2020, section 7.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.explanations import Operator
from faceter.contracts.units import FormulaNode, Unit
from workers.explanation.analyses.word_edits import SIDES, PairEdit, WordEdit

Floats = NDArray[np.float64]


def alternatives(tree: FormulaNode | None) -> list[tuple[tuple[str, bool], ...]]:
    """Return the alternatives of a formula: for each, concepts, and whether they are required or excluded.

    ``(a OR b) AND NOT c`` has the alternatives ``a AND NOT c`` and ``b AND NOT c``.
    """
    if tree is None:
        return []
    if tree.concept is not None:
        return [((tree.concept, True),)]
    first = alternatives(tree.parts[0])
    if tree.operator is Operator.NEIGHBORS:
        return first
    second = alternatives(tree.parts[1])
    if tree.operator is Operator.OR:
        return [*first, *second]
    if tree.operator is Operator.AND:
        return [(*one, *other) for one in first for other in second]
    excluded = tuple((name, False) for other in second for name, _ in other)
    return [(*one, *excluded) for one in first]


def proposed_edits(units: Sequence[Unit], label: str, count: int) -> list[PairEdit]:
    """Return edits of sentence pairs that should lead to the prediction of a class.

    Formulas of units with positive weights to the class are made true: for each alternative, required words are
    inserted and excluded words removed. Formulas of units with negative weights are made false: a required word is
    removed, or an excluded word inserted. Tags and overlaps are not edited.

    Args:
        units: All units, with their weights to classes.
        label: The class.
        count: Number of units with the highest weights, and with the lowest.
    """
    weighted = sorted(
        (
            (weight, unit)
            for unit in units
            if unit.tree is not None and (weight := class_weight(unit, label)) is not None
        ),
        key=lambda pair: (-pair[0], pair[1].layer, pair[1].unit),
    )
    chosen = [(unit, True) for weight, unit in weighted[:count] if weight > 0]
    chosen += [(unit, False) for weight, unit in reversed(weighted[-count:]) if weight < 0]
    proposals: dict[tuple[WordEdit, ...], PairEdit] = {}
    for unit, make_true in chosen:
        for literals in alternatives(unit.tree):
            edits = [
                WordEdit(required is make_true, side, word)
                for name, required in literals
                for side, kind, word in [(*name.split(":", 2), "", "")[:3]]
                if kind == "tok" and side in SIDES
            ]
            for together in [tuple(edits)] if make_true else [(edit,) for edit in edits]:
                if together:
                    proposals.setdefault(together, PairEdit(together, unit.formula or "", unit.unit, unit.layer))
    return list(proposals.values())


def class_weight(unit: Unit, label: str) -> float | None:
    """Return the weight of a unit to a class; None if not known."""
    return next((one.weight for one in unit.classes if one.label == label), None)


def unit_weights(units: Sequence[Unit], label: str, fires: Floats, scores: Floats) -> Floats:
    """Return the weight of each unit to a class; where there are no weights, the correlation of firing and score.

    Args:
        units: All units.
        label: The class.
        fires: Whether each unit fires in each sample, float64 [U, N].
        scores: Score of the class in each sample, float64 [N].
    """
    weights = [class_weight(unit, label) for unit in units]
    if any(weight is not None for weight in weights):
        return np.array([0.0 if weight is None else weight for weight in weights])
    centred, deviations = fires - fires.mean(axis=1, keepdims=True), scores - scores.mean()
    norms = np.linalg.norm(centred, axis=1) * np.linalg.norm(deviations)
    return np.asarray(centred @ deviations / np.where(norms > 0, norms, 1.0))


def required_concepts(units: Sequence[Unit], weights: Floats, count: int, known: Sequence[str]) -> dict[str, Unit]:
    """Return the known concepts that formulas of the units with the highest positive weights require.

    Returns:
        For each concept the unit of highest weight that requires it.
    """
    order = [row for row in np.argsort(-weights, kind="stable") if weights[row] > 0 and units[row].tree is not None]
    concepts: dict[str, Unit] = {}
    for row in order[:count]:
        for literals in alternatives(units[row].tree):
            for name, required in literals:
                if required and name in known:
                    concepts.setdefault(name, units[row])
    return concepts
