"""Accuracy where units fire, against the IoU of their formulas."""

import numpy as np
import pytest
from scipy.stats import pearsonr

from faceter.contracts.explanations import Neuron
from workers.explanation.analyses.interpretability import interpretability


def neuron(unit: int, *scores: float) -> Neuron:
    return Neuron(
        layer="layer",
        unit=unit,
        formula="a" if scores else None,
        length=len(scores),
        score=scores[-1] if scores else 0.0,
        concept=None,
        concept_score=0.0,
        ceiling=1.0,
        optimal=None,
        firings=1,
        threshold=0.0,
        scores=list(scores),
    )


def test_each_unit_has_the_accuracy_of_the_samples_in_which_it_fires() -> None:
    rng = np.random.default_rng(0)
    fires, right = rng.random((6, 200)) < 0.4, rng.random(200) < 0.7
    neurons = [neuron(unit, 0.1 * unit, 0.1 * unit + 0.05 * (unit % 2)) for unit in range(6)]
    result = interpretability(neurons, fires, right, min_samples=5)
    expected = [right[row].mean() for row in fires]
    assert [unit.accuracy for unit in result.units] == pytest.approx(expected)
    assert result.overall == right.mean()
    for length in (1, 2):
        r, p = pearsonr([one.scores[length - 1] for one in neurons], expected)
        assert result.correlations[length - 1].r == pytest.approx(float(r))
        assert result.correlations[length - 1].p == pytest.approx(float(p))


def test_units_that_fire_seldom_or_are_not_explained_are_left_out() -> None:
    fires = np.array([[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1]], bool)
    result = interpretability([neuron(0, 0.1), neuron(1, 0.2), neuron(2)], fires, np.ones(4, bool), min_samples=2)
    assert [unit.unit for unit in result.units] == [0]


def test_there_is_no_correlation_with_what_does_not_vary() -> None:
    fires = np.ones((4, 10), bool)
    result = interpretability([neuron(n, 0.1 * n) for n in range(4)], fires, np.ones(10, bool), min_samples=2)
    assert result.correlations[0].r is None
    assert interpretability([], np.zeros((0, 3), bool), np.ones(3, bool), 2).correlations == []
