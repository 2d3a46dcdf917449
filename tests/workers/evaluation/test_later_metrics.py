"""The metrics that came after density and coverage equal their definitions, from the same distances."""

from collections.abc import Callable

import numpy as np
import pytest

from tests.references import later_metrics as slow
from tests.workers.evaluation.samples import Floats, arrangements, constant, gaussian, whole_numbers
from workers.evaluation.authenticity import authentic, authenticity
from workers.evaluation.clipped import (
    clipped_balls_within,
    clipped_coverage,
    clipped_density,
    expected_clipped_coverage,
)
from workers.evaluation.cross_distances import CrossDistances, Radii, cross_distances
from workers.evaluation.neighbors import Neighbors, nearest, scaled_points
from workers.evaluation.probabilistic import probabilistic_precision, probabilistic_recall, support_radius

K = 5
kinds = pytest.mark.parametrize("kind", [kind for kind in arrangements if kind not in (constant, whole_numbers)])


def compared(real: Floats, generated: Floats) -> tuple[CrossDistances, Neighbors]:
    x, y = scaled_points(real, generated)
    within, others = (nearest(points, points, 8) for points in (x, y))
    ball_radii = [neighbors.distances[:, K - 1 : K] for neighbors in (within, others)]
    radii = Radii(ball_radii[0], ball_radii[1], support_radius(within.distances), support_radius(others.distances))
    return cross_distances(x, y, radii), within


@kinds
@pytest.mark.parametrize("width", [2, 64])
def test_all_of_them_equal_their_definitions(kind: Callable[[Floats], Floats], width: int) -> None:
    real, generated = kind(gaussian(180, width)), kind(0.8 * gaussian(130, width, seed=1))
    found, within = compared(real, generated)
    own = clipped_balls_within(within, K)
    assert clipped_density(found.clipped_balls_per_generated[:, 0], own, K) == pytest.approx(
        slow.clipped_density(real, generated, K), abs=1e-12
    )
    assert clipped_coverage(found.generated_per_real_ball[:, 0], 130, K) == slow.clipped_coverage(real, generated, K)
    assert probabilistic_precision(found) == pytest.approx(slow.probabilistic_precision(real, generated), abs=1e-5)
    assert probabilistic_recall(found) == pytest.approx(slow.probabilistic_precision(generated, real), abs=1e-5)
    assert authenticity(found.nearest_real, within) == pytest.approx(slow.authenticity(real, generated))


@pytest.mark.parametrize(("real", "generated", "k"), [(6, 9, 5), (20, 30, 5), (12, 7, 1), (40, 3, 8)])
def test_expected_coverage_of_balls_is_exact(real: int, generated: int, k: int) -> None:
    expected = [float(value) for value in slow.expected_clipped_coverage(real, generated, k)]
    np.testing.assert_allclose(expected_clipped_coverage(real, generated, k), expected, rtol=1e-9, atol=1e-12)
    assert expected[0] == 0


def test_it_holds_for_ten_thousands_of_samples() -> None:
    found = expected_clipped_coverage(50_000, 50_000, 5)
    assert np.isfinite(found).all()
    assert (np.diff(found) > -1e-12).all()
    assert 0 < found[1] < found[-1] < 1


def test_copies_are_not_authentic() -> None:
    real = gaussian(100, 10)
    generated = np.concatenate([real[:30], gaussian(70, 10, seed=9) * 3])
    found, within = compared(real, generated)
    assert not authentic(found.nearest_real, within)[:30].any()
    assert found.nearest_real.indices[:30, 0].tolist() == list(range(30))
    assert authenticity(found.nearest_real, within) > 0.5


def test_both_clipped_ones_fall_in_a_line_as_good_samples_are_replaced_by_bad_ones() -> None:
    """Share of good samples 1, ¾, ½, ¼, 0: so read both, within 0.06."""
    rng = np.random.default_rng(0)
    real, good = rng.normal(size=(800, 8)), rng.normal(size=(800, 8))
    for share in (1.0, 0.75, 0.5, 0.25, 0.0):
        generated = good.copy()
        generated[int(800 * share) :] += 50
        found, within = compared(real, generated)
        own = clipped_balls_within(within, K)
        assert clipped_density(found.clipped_balls_per_generated[:, 0], own, K) == pytest.approx(share, abs=0.06)
        assert clipped_coverage(found.generated_per_real_ball[:, 0], 800, K) == pytest.approx(share, abs=0.06)
