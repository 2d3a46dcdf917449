"""KID against its sums, and its lack of bias in simulation."""

import numpy as np
import pytest

from tests.workers.evaluation.samples import Floats, gaussian
from workers.evaluation.kernel_distance import kernel_distance, squared_mmd


def by_sums(x: Floats, y: Floats) -> float:
    def k(a: Floats, b: Floats) -> float:
        return float((a @ b / len(a) + 1) ** 3)

    within = [
        sum(k(a, b) for i, a in enumerate(side) for j, b in enumerate(side) if i != j) / (len(side) * (len(side) - 1))
        for side in (x, y)
    ]
    return within[0] + within[1] - 2 * sum(k(a, b) for a in x for b in y) / (len(x) * len(y))


@pytest.mark.parametrize(("n", "m", "width"), [(2, 2, 1), (9, 5, 3), (6, 11, 40)])
def test_it_equals_its_sums(n: int, m: int, width: int) -> None:
    x, y = gaussian(n, width), gaussian(m, width, seed=1) + 0.3
    assert squared_mmd(x, y) == pytest.approx(by_sums(x, y), rel=1e-10)


def test_of_one_distribution_it_is_zero_on_average() -> None:
    rng = np.random.default_rng(0)
    found = np.array([squared_mmd(rng.normal(size=(20, 4)), rng.normal(size=(15, 4))) for _ in range(2000)])
    assert abs(found.mean()) < 4 * found.std(ddof=1) / np.sqrt(len(found))
    assert (found < 0).any()


def test_mean_and_deviation_over_subsets() -> None:
    x, y = gaussian(60, 8), gaussian(50, 8, seed=1) + 0.5
    found = kernel_distance(x, y, np.random.default_rng(3), subsets=40, size=20)
    again = kernel_distance(x, y, np.random.default_rng(3), subsets=40, size=20)
    assert found == again
    assert (found.subsets, found.size) == (40, 20)
    assert abs(found.mean - squared_mmd(x, y)) < 4 * found.deviation / np.sqrt(40)
    assert kernel_distance(x, y, np.random.default_rng(3), subsets=2).size == 50, "no more than the smaller set has"


def test_subsets_that_are_whole_sets_do_not_deviate() -> None:
    x = gaussian(30, 4)
    found = kernel_distance(x, x[::-1], np.random.default_rng(0), subsets=5)
    assert found.deviation == pytest.approx(0, abs=1e-12)
