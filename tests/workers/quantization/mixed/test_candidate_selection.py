"""Selection of the next candidate: in proportion to the remaining drop, and only between known points."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.quantization.mixed.test_frontier_search import frontier_of
from workers.quantization.mixed.candidate_selection import (
    TunedPoint,
    interpolated_index,
    is_close,
    next_index,
    next_rounding_drop,
)
from workers.quantization.mixed.pareto import ParetoFrontier

SIZES = list(range(10_000, 40_000, 500))


def test_the_drop_after_tuning_is_assumed_to_be_proportional_to_that_by_rounding() -> None:
    assert next_rounding_drop(TunedPoint(3, 0.06, 0.02), allowed=0.01) == pytest.approx(0.06 * 0.8 * 0.01 / 0.02)
    assert next_rounding_drop(TunedPoint(3, 0.03, 0.004), allowed=0.01) == pytest.approx(0.03 * 0.8 * 0.01 / 0.004)


@given(st.floats(-0.2, 1), st.floats(-0.2, 1), st.floats(1e-4, 0.5))
def test_the_rounding_drop_changes_in_the_right_direction_by_a_factor_of_4_at_most(
    rounded: float, tuned: float, allowed: float
) -> None:
    last = TunedPoint(0, rounded, tuned)
    drop, scale = next_rounding_drop(last, allowed), max(rounded, allowed / 2)
    assert scale / 4.0001 <= drop <= 4.0001 * scale
    if tuned > allowed:
        assert drop < scale
    if tuned < 0.7 * allowed:
        assert drop > scale
        assert not is_close(last, allowed)


def test_accuracy_is_interpolated_linearly_in_the_logarithm_of_sensitivity() -> None:
    """Here Ω is 100 / size, so half way in accuracy is at the geometric mean of the sizes."""
    frontier = frontier_of(SIZES)
    sizes = frontier.weight_bytes
    measured = {0: 0.2, 59: 0.8}
    at = interpolated_index(frontier, measured, 0.5)
    assert sizes[at - 1] < np.sqrt(sizes[0] * sizes[59]) <= sizes[at]
    assert interpolated_index(frontier, measured, 0.8) == 59
    assert interpolated_index(frontier, measured, 0.9) == 59, "the best there is"
    assert interpolated_index(frontier, {20: 0.5, 59: 0.8}, 0.1) == 20, "no point below the smallest measured one"
    assert interpolated_index(frontier, {0: 0.5, 20: 0.3, 59: 0.8}, 0.4) == 0, "a decrease is taken for noise"


def test_a_point_is_close_if_it_meets_the_target_with_most_of_the_allowed_drop() -> None:
    assert is_close(TunedPoint(0, 0.05, 0.009), 0.01)
    assert not is_close(TunedPoint(0, 0.05, 0.011), 0.01)
    assert not is_close(TunedPoint(0, 0.05, 0.005), 0.01)


tuned_points = st.lists(st.tuples(st.integers(0, len(SIZES) - 1), st.floats(0, 0.02)), max_size=3)


@given(st.integers(0, len(SIZES) - 1), tuned_points)
def test_the_next_point_is_smaller_than_all_that_met_and_larger_than_those_that_failed(
    preferred: int, drawn: list[tuple[int, float]]
) -> None:
    frontier = frontier_of(SIZES)
    seen = [TunedPoint(at, 0.05, tuned) for at, tuned in drawn]
    met = [item.index for item in seen if item.tuned_drop <= 0.01]
    smallest = min(met, default=len(frontier))
    failed = [item.index for item in seen if item.tuned_drop > 0.01 and item.index < smallest]
    index = next_index(frontier, preferred, seen, 0.01, 0.03)
    if index is None:
        assert seen
    else:
        assert max(failed, default=-1) < index < smallest
        assert index == preferred or not max(failed, default=-1) < preferred < smallest


def gap(frontier: ParetoFrontier, failed: int | None, met: int | None) -> int | None:
    seen = [TunedPoint(index, 0.05, tuned) for index, tuned in ((failed, 0.02), (met, 0.0)) if index is not None]
    return next_index(frontier, 0 if failed is not None else len(frontier) - 1, seen, 0.01, 0.03)


def test_the_next_point_is_half_way_in_bytes_or_15_percent_beyond() -> None:
    frontier = frontier_of(SIZES)
    sizes = frontier.weight_bytes
    middle, above, below = gap(frontier, 0, 59), gap(frontier, 20, None), gap(frontier, None, 40)
    assert middle is not None
    assert above is not None
    assert below is not None
    assert sizes[middle] == pytest.approx(np.sqrt(sizes[0] * sizes[59]), abs=500)
    assert sizes[above] == pytest.approx(1.15 * sizes[20], abs=500)
    assert sizes[below] == pytest.approx(sizes[40] / 1.15, abs=500)


def test_none_if_no_point_is_left() -> None:
    frontier = frontier_of(SIZES)
    assert gap(frontier, 30, 31) is None
    assert gap(frontier, len(SIZES) - 1, None) is None
    assert gap(frontier, None, 0) is None
    close = frontier_of([10_000, 10_100, 10_200, 10_250])
    assert gap(close, 0, 3) is None, "the gap is not worth another tuning"
    assert gap(close, 0, None) is None
    assert gap(close, None, 3) is None
