"""Summary of drift."""

import numpy as np
import pytest

from faceter.explanations.formulas import Concept, Formula
from tests.workers.explanation.unit_examples import explained_unit
from workers.explanation.analyses.drift import model_drift

CONCEPTS = [Concept("car", "object"), Concept("sky", "object")]


def test_units_without_a_formula_in_either_model_count_for_their_masks_only() -> None:
    before = [
        explained_unit(0, Formula(0), CONCEPTS, scores=[0.4]),
        explained_unit(1, Formula(1), CONCEPTS, scores=[0.2]),
        explained_unit(2),
        explained_unit(3),
    ]
    after = [
        explained_unit(0, Formula(0), CONCEPTS, scores=[0.3]),
        explained_unit(1),
        explained_unit(2),
        explained_unit(3),
    ]
    lost = after[1].model_copy(update={"score": 0.0})
    found = model_drift("mdl", "W4A4", before, [after[0], lost, *after[2:]], np.array([0.9, 0.5, 0.1, np.nan]))
    assert [one.unit for one in found.units] == [0, 1, 2]
    assert found.mean_iou == pytest.approx(0.5)
    assert found.explained == 2
    assert found.same_formula == 0.5
    assert found.score_change == pytest.approx((-0.1 - 0.2) / 2)
