"""Intervals hold what simulation gives, and no distance is looked at for them."""

import numpy as np
import pytest

from tests.workers.evaluation.samples import gaussian
from workers.evaluation import bootstrap as module
from workers.evaluation import neighbors, points
from workers.evaluation.bootstrap import bootstrap, bootstrap_frechet, interval
from workers.evaluation.comparison import Comparison, compare
from workers.evaluation.frechet import frechet_distance, moments

REAL, GENERATED = gaussian(400, 8), 0.8 * gaussian(350, 8, seed=1) + 0.4


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return compare(REAL, GENERATED, [3, 5])


def test_values_lie_about_the_metric_itself(comparison: Comparison) -> None:
    values = comparison.values()[1]
    found = bootstrap(comparison, 1, 400, np.random.default_rng(0))
    assert found.keys() == values.keys()
    for name, replicates in found.items():
        assert len(replicates) == 400
        low, high = interval(replicates)
        assert low <= values[name] <= high
        assert replicates.mean() == pytest.approx(values[name], abs=4 * replicates.std() / 20 + 0.01), name


def test_a_share_varies_as_a_share_does(comparison: Comparison) -> None:
    """That of p over M samples has the deviation √(p (1 − p) / M)."""
    values = comparison.values()[1]
    found = bootstrap(comparison, 1, 2000, np.random.default_rng(0))
    for name, count in [("precision", 350), ("authenticity", 350), ("coverage", 400), ("recall", 400)]:
        p = values[name]
        assert found[name].std() == pytest.approx(np.sqrt(p * (1 - p) / count), rel=0.1), name


def test_no_distance_is_looked_at(comparison: Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a distance")

    for owner in (points, neighbors):
        for name in ("squared_distances", "exact_distances"):
            monkeypatch.setattr(owner, name, refuse)
    told: list[float] = []
    bootstrap(comparison, 0, 3, np.random.default_rng(0), told.append)
    assert told == sorted(told)
    assert told[-1] == 1


def test_equal_seeds_give_equal_values(comparison: Comparison) -> None:
    one, other, third = (bootstrap(comparison, 0, 20, np.random.default_rng(seed)) for seed in (7, 7, 8))
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name])
    assert any(not np.array_equal(values, third[name]) for name, values in one.items())


def test_frechet_distances_of_samples_drawn_anew_equal_those_of_the_rows_themselves() -> None:
    """But for the bias that drawing anew has, which is taken off."""
    value = frechet_distance(moments(REAL), moments(GENERATED))
    found = bootstrap_frechet(REAL, GENERATED, 4, np.random.default_rng(2), value)
    assert found is not None
    rng = np.random.default_rng(2)
    drawn = [[rows[rng.integers(0, len(rows), len(rows))] for rows in (REAL, GENERATED)] for _ in range(4)]
    expected = np.array([frechet_distance(*map(moments, pair)) for pair in drawn])
    np.testing.assert_allclose(found, expected - expected.mean() + value)
    assert found.mean() == pytest.approx(value)


def test_frechet_distances_that_would_take_too_long_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_PRODUCTS", 1e5)
    assert bootstrap_frechet(REAL, GENERATED, 3, np.random.default_rng(2), 1.0) is None


def test_the_middle_95_percent() -> None:
    assert interval(np.arange(1001.0)) == pytest.approx([25, 975])
