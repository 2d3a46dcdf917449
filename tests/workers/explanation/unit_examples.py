"""Units of an explanation."""

from collections.abc import Sequence

from faceter.contracts.units import ClassWeight, Unit
from faceter.explanations.formulas import Concept, Formula


def explained_unit(
    number: int,
    formula: Formula | None = None,
    concepts: Sequence[Concept] = (),
    *,
    layer: str = "layer",
    threshold: float = 0.0,
    scores: Sequence[float] = (),
    weights: dict[str, float] | None = None,
) -> Unit:
    """Return a unit with the fields that analyses use.

    Args:
        concepts: Concepts of the formula by number.
        scores: IoU at each maximum length.
        weights: Weights by class.
    """
    return Unit(
        layer=layer,
        unit=number,
        formula=None if formula is None else formula.text(concepts),
        length=0 if formula is None else len(formula),
        score=scores[-1] if scores else 0.5,
        concept=None,
        concept_score=0.1,
        ceiling=1.0,
        optimal=None,
        firings=9,
        tree=None if formula is None else formula.tree(concepts),
        threshold=threshold,
        scores=list(scores),
        classes=[ClassWeight(label=label, weight=weight) for label, weight in (weights or {}).items()],
    )
