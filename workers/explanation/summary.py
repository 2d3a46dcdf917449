"""Statistics of a layer, and warnings about an explanation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from faceter.contracts.explanations import ConceptUse, ExplanationRequest, LayerSummary, Search, Spread
from faceter.contracts.units import Unit
from faceter.explanations.formulas import Concept, concepts_of
from workers.explanation.recorded_activations import LayerActivations
from workers.explanation.search.patterns import Patterns
from workers.figures.layer_summary import LayerUnits, layers_png

_MOST_USED = 20
_AT_CEILING = 0.999
_MAX_LISTED = 50
_FEW_FIRINGS = 30
_MANY_UNLABELLED = 0.5
_PIXELS_PER_PATTERN = 2


def layer_summary(layer: LayerActivations, units: Sequence[Unit], concepts: Sequence[Concept]) -> LayerSummary:
    """Return the statistics of a layer.

    Args:
        units: Units of all layers.
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


def plot_layers(summaries: Sequence[LayerSummary], units: Sequence[Unit], title: str) -> bytes:
    """Return a plot of all layers, a PNG."""

    def of(summary: LayerSummary) -> LayerUnits:
        of_layer = [unit for unit in units if unit.layer == summary.layer and unit.formula is not None]
        return LayerUnits(
            summary=summary,
            scores=np.array([unit.score for unit in of_layer], np.float64),
            concept_scores=np.array([unit.concept_score for unit in of_layer], np.float64),
            ceilings=np.array([unit.ceiling for unit in of_layer], np.float64),
        )

    return layers_png([of(summary) for summary in summaries], title)


def list_concepts(concepts: Sequence[Concept], patterns: Patterns) -> dict[str, list[str]]:
    """Return the names of concepts that occur by category, at most 50 of each."""
    listed: dict[str, list[str]] = {}
    for concept, size in zip(concepts, patterns.sizes, strict=True):
        names = listed.setdefault(concept.category, [])
        if size > 0 and len(names) < _MAX_LISTED:
            names.append(concept.name)
    return {category: names for category, names in listed.items() if names}


def find_warnings(request: ExplanationRequest, patterns: Patterns, units: Sequence[Unit]) -> list[str]:
    """Return what a reader of the explanation should know."""
    messages = []
    unlabelled = int(patterns.weights[patterns.unlabelled].sum())
    if unlabelled > _MANY_UNLABELLED * patterns.pixels:
        messages.append(
            f"{unlabelled / patterns.pixels:.0%} of the pixels have no concept, so no formula covers them: "
            "ceilings are low for that reason."
        )
    unexplained = sum(unit.formula is None for unit in units)
    if unexplained:
        messages.append(f"Units without a formula: {unexplained} of {len(units)}; see the `reason` of each.")
    few = sum(unit.formula is not None and unit.firings < _FEW_FIRINGS for unit in units)
    if few:
        messages.append(
            f"Units that fire at fewer than {_FEW_FIRINGS} pixels, so that chance may make their formulas: {few}."
        )
    if request.search is Search.OPTIMAL and (
        unknown := sum(unit.optimal is None and unit.formula is not None for unit in units)
    ):
        messages.append(
            f"Units of which it is not known whether the formula is optimal: {unknown}. There are too many concepts to "
            "score all formulas of that length. `bound` of each is an upper bound of their IoU."
        )
    if (
        len(patterns) * _PIXELS_PER_PATTERN > patterns.pixels
        and patterns.pixels > len(patterns)
        and len(patterns) > 10_000
    ):
        messages.append(
            f"{patterns.pixels:,} pixels carry {len(patterns):,} different sets of concepts, so few share one: the "
            "search is slow, and formulas may describe single pixels."
        )
    return messages


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
