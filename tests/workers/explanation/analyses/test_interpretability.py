"""Accuracy where units fire, against the IoU of their formulas."""

import numpy as np
import pytest
from scipy.stats import pearsonr

from tests.workers.explanation.unit_examples import explained_unit
from workers.explanation.analyses.interpretability import interpretability


def test_each_unit_has_the_accuracy_of_the_samples_in_which_it_fires() -> None:
    rng = np.random.default_rng(0)
    fires, correct = rng.random((6, 200)) < 0.4, rng.random(200) < 0.7
    units = [explained_unit(n, scores=[0.1 * n, 0.1 * n + 0.05 * (n % 2)]) for n in range(6)]
    result = interpretability(units, fires, correct, min_samples=5)
    expected = [correct[row].mean() for row in fires]
    assert [one.accuracy for one in result.units] == pytest.approx(expected)
    assert result.overall == correct.mean()
    for length in (1, 2):
        r, p = pearsonr([one.scores[length - 1] for one in units], expected)
        assert result.correlations[length - 1].r == pytest.approx(float(r))
        assert result.correlations[length - 1].p == pytest.approx(float(p))


def test_units_that_fire_seldom_or_are_not_explained_are_left_out() -> None:
    fires = np.array([[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1]], bool)
    result = interpretability(
        [explained_unit(0, scores=[0.1]), explained_unit(1, scores=[0.2]), explained_unit(2)],
        fires,
        np.ones(4, bool),
        min_samples=2,
    )
    assert [one.unit for one in result.units] == [0]


def test_there_is_no_correlation_with_what_does_not_vary() -> None:
    fires = np.ones((4, 10), bool)
    result = interpretability(
        [explained_unit(n, scores=[0.1 * n]) for n in range(4)], fires, np.ones(10, bool), min_samples=2
    )
    assert result.correlations[0].r is None
    assert interpretability([], np.zeros((0, 3), bool), np.ones(3, bool), 2).correlations == []
