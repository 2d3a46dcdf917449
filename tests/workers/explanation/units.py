"""Units as an explanation describes them."""

from collections.abc import Sequence

from faceter.contracts.explanations import ClassWeight, Unit
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
    """Return a unit with what an analysis looks at.

    Args:
        number: Which unit.
        formula: Its formula, if it has one.
        concepts: What the formula's numbers mean.
        layer: Its layer.
        threshold: It fires over this.
        scores: IoU at each length.
        weights: To classes, by name.
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
