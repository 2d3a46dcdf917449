"""Explanations, stored as by a worker."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from faceter.contracts.base import new_id, utc_now
from faceter.contracts.explanations import Explanation, ExplanationRequest, LayerSummary, Operator, Spread
from faceter.contracts.units import FormulaNode, Unit, UnitExample
from faceter.explanations.masks import ExplanationMasks, LayerMasks
from faceter.explanations.units import encode_units
from faceter.store.library import Library
from tests.app.evaluation_records import store_files

MODEL, DATASET = "mdl_explained", "dts_concepts"


def unit(unit: int, *concepts: str, layer: str = "relu", score: float = 0.3, **changes: Any) -> Unit:
    """Return a unit whose formula is an OR of concepts; without concepts, an unexplained unit."""
    has_formula = bool(concepts)
    tree = FormulaNode(concept=concepts[0]) if has_formula else None
    for name in concepts[1:]:
        assert tree is not None
        tree = FormulaNode(operator=Operator.OR, parts=[tree, FormulaNode(concept=name)])
    defaults: dict[str, Any] = {
        "layer": layer,
        "unit": unit,
        "formula": " OR ".join(concepts) if has_formula else None,
        "length": len(concepts),
        "score": score if has_formula else 0.0,
        "concept": concepts[0] if has_formula else None,
        "concept_score": score / 2 if has_formula else 0.0,
        "ceiling": 0.8 if has_formula else 0.0,
        "optimal": True if has_formula else None,
        "firings": 100,
        "reason": None if has_formula else "never fires",
        "tree": tree,
        "threshold": 1.375,
        "examples": [UnitExample(index=1, activation=7.3125, label="day")],
    }
    return Unit(**{**defaults, **changes})


UNITS = (
    unit(0, "car", "road", score=0.2),
    unit(1, "tree", score=0.5, ceiling=0.6, firings=70),
    unit(2),
    unit(3, "Car", score=0.2, concept_score=0.2, ceiling=0.9),
)
"""Units of one layer."""


LAYERS = ("early", "late/relu:0")
"""Two layers; unit 1 is explained in both."""

LAYERED_UNITS = (
    unit(5, "sky", layer=LAYERS[0], score=0.1),
    unit(1, "car", layer=LAYERS[0], score=0.3),
    unit(1, "road", layer=LAYERS[1], score=0.2),
)


def make_explanation(
    units: Sequence[Unit] = UNITS, *, settings: Mapping[str, Any] | None = None, **changes: Any
) -> Explanation:
    """Return an explanation with these units; it is not stored."""
    layers = list(dict.fromkeys(unit.layer for unit in units))
    layer = layers[0] if len(layers) == 1 else layers
    defaults: dict[str, Any] = {
        "id": new_id("exp"),
        "name": "last block",
        "created_at": utc_now(),
        "sha256": "0" * 64,
        "bytes": 7,
        "model_id": MODEL,
        "model_sha256": "1" * 64,
        "dataset_sha256": "2" * 64,
        "settings": ExplanationRequest(**{"dataset_id": DATASET, "layer": layer, **(settings or {})}),
        "about": "images",
        "samples": 5,
        "pixels": 500,
        "concepts": {"object": ["car", "road", "tree"]},
        "concept_count": 3,
        "patterns": 4,
        "layers": [_layer(name, [unit for unit in units if unit.layer == name]) for name in layers],
        "seconds": 1.5,
    }
    return Explanation(**{**defaults, **changes})


def add_explanation(
    library: Library,
    units: Sequence[Unit] = UNITS,
    *,
    files: Mapping[str, bytes] | None = None,
    **changes: Any,
) -> Explanation:
    """Store an explanation with its files."""
    fields = store_files(library, encode_units(units), files or {})
    return library.add(make_explanation(units, **fields, **changes))


def random_masks(units: int, samples: int, shown: int, grid: tuple[int, ...], seed: int = 0) -> LayerMasks:
    """Return random masks of a layer; the last sample slot of each unit is empty."""
    random = np.random.default_rng(seed)
    strongest = np.stack([random.permutation(samples)[:shown] for _ in range(units)])
    strongest[:, -1] = -1
    return LayerMasks(
        fires=random.random((units, samples)) < 0.5,
        strongest=strongest,
        unit_masks=random.random((units, shown, *grid)) < 0.5,
        formula_masks=random.random((units, shown, *grid)) < 0.5,
    )


def single_layer_masks(layer: LayerMasks) -> ExplanationMasks:
    """Return masks with one layer, without labels."""
    return ExplanationMasks([layer], None, None)


def _layer(name: str, units: Sequence[Unit]) -> LayerSummary:
    scores = [unit.score for unit in units if unit.formula is not None]
    spread = dict.fromkeys(("minimum", "lower_quartile", "median", "upper_quartile", "maximum"), 0.1)
    return LayerSummary(
        layer=name,
        shape=[8, 2, 2],
        units=len(units),
        explained=len(scores),
        iou=Spread(**spread, mean=float(np.mean(scores))) if scores else None,
    )
