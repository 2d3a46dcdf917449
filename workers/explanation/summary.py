"""What is said of a whole layer, and what could mislead a reader."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from faceter.contracts.explanations import ConceptUse, ExplanationRequest, LayerSummary, Search, Spread, Unit
from faceter.explanations.formulas import Concept, concepts_of
from workers.explanation.first_pass import Layer
from workers.explanation.patterns import Patterns
from workers.figures.layer_summary import LayerUnits, layers_png

_MOST_USED = 20
_AT_CEILING = 0.999
_LISTED = 50
_FEW_FIRINGS = 30
_MANY_BLANK = 0.5
_PIXELS_PER_PATTERN = 2


def layer_summary(layer: Layer, units: Sequence[Unit], concepts: Sequence[Concept]) -> LayerSummary:
    """Return what is said of a layer.

    Args:
        layer: The layer.
        units: All units of all layers.
        concepts: All concepts.
    """
    of_layer = [unit for unit in units if unit.layer == layer.name]
    explained = [unit for unit in of_layer if unit.formula is not None]
    categories = {concept.name: concept.category for concept in concepts}
    used = Counter(name for unit in explained if unit.tree for name in dict.fromkeys(concepts_of(unit.tree)))
    lengths = Counter(unit.length for unit in explained)
    return LayerSummary(
        layer=layer.name,
        shape=list(layer.shape),
        units=len(of_layer),
        explained=len(explained),
        iou=_spread([unit.score for unit in explained]),
        concept_iou=_spread([unit.concept_score for unit in explained]),
        gain=_mean([unit.score - unit.concept_score for unit in explained]),
        at_ceiling=sum(unit.score >= _AT_CEILING * unit.ceiling for unit in explained),
        mean_ceiling=_mean([unit.ceiling for unit in explained]),
        proven=sum(unit.optimal is True for unit in explained),
        most_used=[
            ConceptUse(concept=name, category=categories[name], units=count)
            for name, count in sorted(used.items(), key=lambda item: (-item[1], item[0]))[:_MOST_USED]
        ],
        lengths={str(length): lengths[length] for length in sorted(lengths)},
    )


def layers_image(summaries: Sequence[LayerSummary], units: Sequence[Unit], title: str) -> bytes:
    """Return the image of all layers, a PNG."""

    def of(summary: LayerSummary) -> LayerUnits:
        of_layer = [unit for unit in units if unit.layer == summary.layer and unit.formula is not None]
        return LayerUnits(
            summary=summary,
            scores=np.array([unit.score for unit in of_layer], np.float64),
            concept_scores=np.array([unit.concept_score for unit in of_layer], np.float64),
            ceilings=np.array([unit.ceiling for unit in of_layer], np.float64),
        )

    return layers_png([of(summary) for summary in summaries], title)


def listed_concepts(concepts: Sequence[Concept], patterns: Patterns) -> dict[str, list[str]]:
    """Return the concepts that occur by category, of a category with very many the first few."""
    listed: dict[str, list[str]] = {}
    for concept, size in zip(concepts, patterns.sizes, strict=True):
        names = listed.setdefault(concept.category, [])
        if size > 0 and len(names) < _LISTED:
            names.append(concept.name)
    return {category: names for category, names in listed.items() if names}


def warnings(request: ExplanationRequest, patterns: Patterns, units: Sequence[Unit]) -> list[str]:
    """Return what could mislead a reader."""
    said = []
    blank = int(patterns.weights[patterns.blank].sum())
    if blank > _MANY_BLANK * patterns.pixels:
        said.append(
            f"{blank / patterns.pixels:.0%} of what is compared carries no concept at all, and no formula reaches "
            "there: ceilings are low for that reason."
        )
    unexplained = sum(unit.formula is None for unit in units)
    if unexplained:
        said.append(f"{unexplained} of {len(units)} units are left unexplained; `reason` of each says why.")
    few = sum(unit.formula is not None and unit.firings < _FEW_FIRINGS for unit in units)
    if few:
        said.append(f"{few} units fire at fewer than {_FEW_FIRINGS} places: their formulas may be chance.")
    if request.search is Search.OPTIMAL and (
        unknown := sum(unit.optimal is None and unit.formula is not None for unit in units)
    ):
        said.append(
            f"For {unknown} units it is not known whether the formula is the best: there are too many concepts to look "
            "at all formulas of that length. `bound` of each says how much better one could be at most."
        )
    if (
        len(patterns) * _PIXELS_PER_PATTERN > patterns.pixels
        and patterns.pixels > len(patterns)
        and len(patterns) > 10_000
    ):
        said.append(
            f"{patterns.pixels:,} pixels carry {len(patterns):,} different sets of concepts, nearly each its own: the "
            "search is slow, and formulas may describe single pixels."
        )
    return said


def _spread(values: Sequence[float]) -> Spread | None:
    if not values:
        return None
    points = [float(point) for point in np.quantile(values, [0, 0.25, 0.5, 0.75, 1])]
    return Spread(
        minimum=points[0],
        lower_quartile=points[1],
        median=points[2],
        upper_quartile=points[3],
        maximum=points[4],
        mean=float(np.mean(values)),
    )


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
