"""The upper bound of IoU."""

import numpy as np
import pytest
from hypothesis import given, settings

from tests.references import compositional as reference
from tests.workers.explanation.search.toy_data import (
    OPERATORS,
    ToyData,
    patterns_of_sets,
    random_toy_data,
    toy_data,
)
from workers.explanation.search.formula_table import FormulaTable
from workers.explanation.search.scoring import iou_upper_bounds


@settings(max_examples=60, deadline=None)
@given(data=toy_data(most_concepts=3))
def test_the_upper_bound_is_the_best_set_of_patterns(data: ToyData) -> None:
    patterns = data.patterns
    labelled = np.flatnonzero(~patterns.unlabelled)
    for unit, found in zip(data.units, iou_upper_bounds(patterns, data.fires), strict=True):
        assert found == pytest.approx(reference.ceiling(unit, data.pattern_of_pixels, labelled.tolist()), abs=1e-12)


def test_long_formulas_attain_the_upper_bound() -> None:
    data = random_toy_data(2, concepts=3, pixels=60, units=8)
    table = FormulaTable.build(data.patterns, OPERATORS, 10)
    assert table is not None
    best = np.array([by_length[-1].score for by_length in table.best(data.fires)])
    ceiling = iou_upper_bounds(data.patterns, data.fires)
    assert (best <= ceiling + 1e-12).all()
    assert (best >= ceiling - 1e-12).mean() > 0.5


def test_patterns_without_concepts_are_in_no_formula() -> None:
    patterns = patterns_of_sets([[], [0]], [10, 10], 1)
    assert iou_upper_bounds(patterns, np.array([[10.0, 0.0], [10.0, 10.0]])).tolist() == [0.0, 0.5]
