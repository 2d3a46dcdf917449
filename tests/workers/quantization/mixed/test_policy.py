"""Where to tune next: further along the frontier, in proportion to what was left, never where it is known already."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.quantization.mixed.test_choice import frontier_of
from workers.quantization.mixed.pareto import Frontier
from workers.quantization.mixed.policy import Try, between, foretold, near_enough, next_loss

SIZES = list(range(10_000, 40_000, 500))


def test_what_tuning_leaves_is_taken_to_be_in_proportion() -> None:
    assert next_loss(Try(3, 0.06, 0.02), allowed=0.01) == pytest.approx(0.06 * 0.8 * 0.01 / 0.02)
    assert next_loss(Try(3, 0.03, 0.004), allowed=0.01) == pytest.approx(0.03 * 0.8 * 0.01 / 0.004)


@given(st.floats(-0.2, 1), st.floats(-0.2, 1), st.floats(1e-4, 0.5))
def test_it_moves_to_the_right_side_and_by_a_factor_of_4_at_most(rounded: float, tuned: float, allowed: float) -> None:
    last = Try(0, rounded, tuned)
    loss, scale = next_loss(last, allowed), max(rounded, allowed / 2)
    assert scale / 4.0001 <= loss <= 4.0001 * scale
    if tuned > allowed:
        assert loss < scale
    if tuned < 0.7 * allowed:
        assert loss > scale
        assert not near_enough(last, allowed)


def test_between_points_measured_quality_is_linear_in_the_logarithm_of_sensitivity() -> None:
    """Here Ω is 100 / size, so half way in quality is at the geometric mean of the sizes."""
    frontier = frontier_of(SIZES)
    sizes = frontier.weight_bytes
    measured = {0: 0.2, 59: 0.8}
    at = foretold(frontier, measured, 0.5)
    assert sizes[at - 1] < np.sqrt(sizes[0] * sizes[59]) <= sizes[at]
    assert foretold(frontier, measured, 0.8) == 59
    assert foretold(frontier, measured, 0.9) == 59, "as good as it gets"
    assert foretold(frontier, {20: 0.5, 59: 0.8}, 0.1) == 20, "of smaller ones nothing is known"
    assert foretold(frontier, {0: 0.5, 20: 0.3, 59: 0.8}, 0.4) == 0, "a fall is taken for noise"


def test_near_enough_is_met_with_most_of_what_may_be_lost() -> None:
    assert near_enough(Try(0, 0.05, 0.009), 0.01)
    assert not near_enough(Try(0, 0.05, 0.011), 0.01)
    assert not near_enough(Try(0, 0.05, 0.005), 0.01)


tries = st.lists(st.tuples(st.integers(0, len(SIZES) - 1), st.floats(0, 0.02)), max_size=3)


@given(st.integers(0, len(SIZES) - 1), tries)
def test_it_is_smaller_than_all_that_met_and_larger_than_what_did_not(
    wanted: int, tried: list[tuple[int, float]]
) -> None:
    frontier = frontier_of(SIZES)
    seen = [Try(index, 0.05, tuned) for index, tuned in tried]
    met = [item.index for item in seen if item.tuned <= 0.01]
    smallest = min(met, default=len(frontier))
    failed = [item.index for item in seen if item.tuned > 0.01 and item.index < smallest]
    found = between(frontier, wanted, seen, 0.01, 0.03)
    if found is None:
        assert seen
    else:
        assert max(failed, default=-1) < found < smallest
        assert found == wanted or not max(failed, default=-1) < wanted < smallest


def gap(frontier: Frontier, fails: int | None, does: int | None) -> int | None:
    seen = [Try(index, 0.05, tuned) for index, tuned in ((fails, 0.02), (does, 0.0)) if index is not None]
    return between(frontier, 0 if fails is not None else len(frontier) - 1, seen, 0.01, 0.03)


def test_half_way_between_in_bytes_or_some_way_beyond() -> None:
    frontier = frontier_of(SIZES)
    sizes = frontier.weight_bytes
    middle, above, below = gap(frontier, 0, 59), gap(frontier, 20, None), gap(frontier, None, 40)
    assert middle is not None
    assert above is not None
    assert below is not None
    assert sizes[middle] == pytest.approx(np.sqrt(sizes[0] * sizes[59]), abs=500)
    assert sizes[above] == pytest.approx(1.15 * sizes[20], abs=500)
    assert sizes[below] == pytest.approx(sizes[40] / 1.15, abs=500)


def test_where_nothing_is_left_to_try_it_says_so() -> None:
    frontier = frontier_of(SIZES)
    assert gap(frontier, 30, 31) is None
    assert gap(frontier, len(SIZES) - 1, None) is None
    assert gap(frontier, None, 0) is None
    close = frontier_of([10_000, 10_100, 10_200, 10_250])
    assert gap(close, 0, 3) is None, "the gap is not worth another try"
    assert gap(close, 0, None) is None
    assert gap(close, None, 3) is None
