"""Density, coverage, precision and recall equal their definitions on any samples; simulation gives what is expected."""

from collections.abc import Callable

import numpy as np
import pytest
from prdc import compute_prdc

from tests.references.prdc import prdc
from tests.workers.evaluation.samples import Floats, gaussian, heavy_tails, huge, kinds
from workers.evaluation import density_coverage
from workers.evaluation.cross_distances import CrossDistances, Radii, cross_distances
from workers.evaluation.neighbors import nearest, scaled_points


def crossed(real: Floats, generated: Floats, ks: list[int]) -> CrossDistances:
    x, y = scaled_points(real, generated)
    real_radii, generated_radii = (nearest(side, side, max(ks)).distances[:, np.array(ks) - 1] for side in (x, y))
    return cross_distances(x, y, Radii(real_radii, generated_radii, 0.0, 0.0))


def metrics(real: Floats, generated: Floats, ks: list[int]) -> list[dict[str, float]]:
    found = crossed(real, generated, ks)
    values = {
        "density": density_coverage.density(found, np.array(ks)),
        "coverage": density_coverage.coverage(found),
        "precision": density_coverage.precision(found),
        "recall": density_coverage.recall(found),
    }
    return [{name: float(value[index]) for name, value in values.items()} for index in range(len(ks))]


@kinds
@pytest.mark.parametrize("width", [1, 3, 64, 300])
@pytest.mark.parametrize(("n", "m"), [(200, 130), (90, 250)])
def test_all_four_equal_their_definitions(kind: Callable[[Floats], Floats], width: int, n: int, m: int) -> None:
    real, generated = kind(gaussian(n, width)), kind(0.9 * gaussian(m, width, seed=1))
    for k, found in zip([1, 5, 11], metrics(real, generated, [1, 5, 11]), strict=True):
        assert found == pytest.approx(prdc(real, generated, k), abs=1e-9)


@kinds
def test_all_four_equal_their_definitions_in_4096_dimensions(kind: Callable[[Floats], Floats]) -> None:
    real, generated = kind(gaussian(70, 4096)), kind(0.99 * gaussian(50, 4096, seed=1))
    assert metrics(real, generated, [5])[0] == pytest.approx(prdc(real, generated, 5), abs=1e-9)


def moved(rows: Floats) -> Floats:
    return rows + 1e3


@pytest.mark.parametrize("kind", [np.copy, moved, heavy_tails, huge])
@pytest.mark.parametrize("width", [1, 64])
def test_all_four_equal_the_authors_package(kind: Callable[[Floats], Floats], width: int) -> None:
    """But where pairs are equally far apart, or so far out that its products lose every digit: there it is wrong."""
    real, generated = kind(gaussian(200, width)), kind(0.9 * gaussian(150, width, seed=1))
    assert metrics(real, generated, [5])[0] == pytest.approx(compute_prdc(real, generated, 5), abs=1e-6)


def test_generated_samples_that_are_real_ones_lie_on_no_edge() -> None:
    """Copies of a sample's k-th neighbour are exactly as far away as that is: outside, since the edge is."""
    real = gaussian(80, 20)
    assert metrics(real, real.copy(), [3])[0] == pytest.approx(prdc(real, real.copy(), 3), abs=1e-12)


def test_equal_samples_leave_balls_of_no_size_with_nothing_in_them() -> None:
    found = metrics(np.ones((20, 3)), np.ones((30, 3)), [5])
    assert found == [{"density": 0.0, "coverage": 0.0, "precision": 0.0, "recall": 0.0}]


@pytest.mark.parametrize(("n", "m", "k"), [(50, 50, 5), (40, 120, 3), (100, 30, 1)])
def test_expected_values_are_what_simulation_gives(n: int, m: int, k: int) -> None:
    rng = np.random.default_rng(0)
    runs = [metrics(rng.normal(size=(n, 4)), rng.normal(size=(m, 4)), [k])[0] for _ in range(200)]
    for name, expected in (
        ("density", density_coverage.EXPECTED_DENSITY),
        ("coverage", density_coverage.expected_coverage(n, m, k)),
    ):
        values = np.array([run[name] for run in runs])
        error = values.std(ddof=1) / np.sqrt(len(values))
        assert abs(values.mean() - expected) < 4 * error, name


def test_expected_coverage_tends_to_one_minus_a_power_of_two() -> None:
    assert density_coverage.expected_coverage(10**6, 10**6, 5) == pytest.approx(1 - 2**-5, abs=1e-5)
