"""Bootstrap replicates have the right spread, and no distance is computed for them."""

import numpy as np
import pytest

from tests.workers.evaluation.samples import gaussian
from workers.evaluation import bootstrap as module
from workers.evaluation import neighbors, points
from workers.evaluation.bootstrap import bootstrap, bootstrap_frechet, confidence_interval
from workers.evaluation.comparison import SetComparison, compare
from workers.evaluation.frechet import frechet_distance, moments

REAL, GENERATED = gaussian(400, 8), 0.8 * gaussian(350, 8, seed=1) + 0.4


@pytest.fixture(scope="module")
def comparison() -> SetComparison:
    return compare(REAL, GENERATED, [3, 5])


def test_values_lie_about_the_metric_itself(comparison: SetComparison) -> None:
    values = comparison.values()[1]
    found = bootstrap(comparison, 1, 400, np.random.default_rng(0))
    assert found.keys() == values.keys()
    for name, replicates in found.items():
        assert len(replicates) == 400
        low, high = confidence_interval(replicates)
        assert low <= values[name] <= high
        assert replicates.mean() == pytest.approx(values[name], abs=4 * replicates.std() / 20 + 0.01), name


def test_fractions_have_a_binomial_spread(comparison: SetComparison) -> None:
    """A fraction p of M samples has the standard deviation √(p (1 − p) / M)."""
    values = comparison.values()[1]
    found = bootstrap(comparison, 1, 2000, np.random.default_rng(0))
    for name, count in [("precision", 350), ("authenticity", 350), ("coverage", 400), ("recall", 400)]:
        p = values[name]
        assert found[name].std() == pytest.approx(np.sqrt(p * (1 - p) / count), rel=0.1), name


def test_no_distance_is_computed(comparison: SetComparison, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a distance")

    for owner in (points, neighbors):
        for name in ("squared_distances", "exact_distances"):
            monkeypatch.setattr(owner, name, refuse)
    fractions: list[float] = []
    bootstrap(comparison, 0, 3, np.random.default_rng(0), fractions.append)
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1


def test_equal_seeds_give_equal_values(comparison: SetComparison) -> None:
    one, other, third = (bootstrap(comparison, 0, 20, np.random.default_rng(seed)) for seed in (7, 7, 8))
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name])
    assert any(not np.array_equal(values, third[name]) for name, values in one.items())


def test_frechet_distances_of_resamples_equal_those_of_resampled_rows() -> None:
    """Except for the bias of resampling, which is removed."""
    value = frechet_distance(moments(REAL), moments(GENERATED))
    found = bootstrap_frechet(REAL, GENERATED, 4, np.random.default_rng(2), value)
    assert found is not None
    rng = np.random.default_rng(2)
    resampled = [[rows[rng.integers(0, len(rows), len(rows))] for rows in (REAL, GENERATED)] for _ in range(4)]
    expected = np.array([frechet_distance(*map(moments, pair)) for pair in resampled])
    np.testing.assert_allclose(found, expected - expected.mean() + value)
    assert found.mean() == pytest.approx(value)


def test_frechet_distances_that_would_take_too_long_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_PRODUCTS", 1e5)
    assert bootstrap_frechet(REAL, GENERATED, 3, np.random.default_rng(2), 1.0) is None


def test_the_confidence_interval_is_the_middle_95_percent() -> None:
    assert confidence_interval(np.arange(1001.0)) == pytest.approx([25, 975])
