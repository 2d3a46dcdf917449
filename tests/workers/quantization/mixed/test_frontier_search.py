"""Search of the Pareto frontier: the right point, with few measurements."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceter.contracts.quantizations import TradeOffPoint
from workers.quantization.mixed.frontier_search import FrontierChoice, bisect, choose_by_bytes, predicted_index
from workers.quantization.mixed.pareto import ParetoFrontier
from workers.quantization.mixed.trade_off import trade_off


def frontier_of(sizes: list[int]) -> ParetoFrontier:
    """Return a frontier of one weight of these sizes, Ω and predicted agreement falling with 1 / size."""
    made = np.array(sorted(set(sizes)), np.int64)
    return ParetoFrontier(
        ("w",), np.full((len(made), 1), 4, np.int8), made, 100.0 / made, predict=lambda omega: 1 - omega
    )


class Measure:
    """Accuracy by size, and the sizes measured."""

    def __init__(self, frontier: ParetoFrontier, accuracies: list[float]) -> None:
        self.accuracies: dict[int, float] = dict(zip(frontier.weight_bytes.tolist(), accuracies, strict=True))
        self.measured_sizes: list[int] = []

    def __call__(self, point: TradeOffPoint) -> float:
        self.measured_sizes.append(point.weight_bytes)
        return self.accuracies[point.weight_bytes]


sizes = st.lists(st.integers(100, 100_000), min_size=1, max_size=60)


@given(sizes, st.integers(0, 110_000))
def test_by_bytes_the_largest_point_that_fits_is_chosen(drawn: list[int], most: int) -> None:
    frontier = frontier_of(drawn)
    choice = choose_by_bytes(frontier, most)
    fitting = [size for size in frontier.weight_bytes if size <= most]
    assert choice.met == bool(fitting)
    assert frontier[choice.index].weight_bytes == (max(fitting) if fitting else min(drawn))


@given(sizes, st.data())
def test_bisection_finds_the_smallest_point_that_meets_the_minimum(drawn: list[int], data: st.DataObject) -> None:
    frontier = frontier_of(drawn)
    needed = data.draw(st.integers(0, len(frontier)))
    start = data.draw(st.none() | st.integers(0, len(frontier) - 1))
    measure = Measure(frontier, [float(index >= needed) for index in range(len(frontier))])
    choice = bisect(frontier, measure, 0.5, start=start, max_measurements=100, resolution=0.0)
    assert choice.met == (needed < len(frontier))
    if choice.met:
        assert choice.index == needed
    else:
        assert len(frontier) - 1 in choice.measured, "the largest was tried before giving up"
    assert len(measure.measured_sizes) == len(set(measure.measured_sizes)) == len(choice.measured)


@given(sizes, st.data())
def test_bisection_is_limited_by_resolution_and_number_of_measurements(drawn: list[int], data: st.DataObject) -> None:
    frontier = frontier_of(drawn)
    needed = data.draw(st.integers(0, len(frontier) - 1))
    measure = Measure(frontier, [float(index >= needed) for index in range(len(frontier))])
    choice = bisect(frontier, measure, 0.5, max_measurements=100, resolution=0.05)
    assert choice.met
    assert frontier[choice.index].weight_bytes <= 1.05 * frontier[needed].weight_bytes
    few = Measure(frontier, list(measure.accuracies.values()))
    bounded = bisect(frontier, few, 0.5, max_measurements=3, resolution=0.05)
    assert 1 <= len(few.measured_sizes) <= 3
    assert bounded.met, "a frontier whose last point meets the minimum is never given up"
    assert few.accuracies[frontier[bounded.index].weight_bytes] == 1.0


def test_measurements_grow_with_the_logarithm() -> None:
    frontier = frontier_of(list(range(10_000, 40_000, 7)))
    for needed in (0, 17, 2000, len(frontier) - 1):
        measure = Measure(frontier, [float(index >= needed) for index in range(len(frontier))])
        bisect(frontier, measure, 0.5, max_measurements=100)
        steps = math.log(4) / math.log(1.02)
        assert len(measure.measured_sizes) <= math.log2(steps) + 2


def test_the_best_point_is_chosen_if_none_meets_the_minimum() -> None:
    frontier = frontier_of([100, 200, 400, 800, 1600])
    measure = Measure(frontier, [0.1, 0.2, 0.7, 0.4, 0.6])
    choice = bisect(frontier, measure, 0.9)
    assert not choice.met
    assert 1600 in measure.measured_sizes
    assert measure.accuracies[frontier[choice.index].weight_bytes] == max(choice.measured.values())


def test_the_choice_meets_the_minimum_even_if_accuracy_does_not_grow() -> None:
    frontier = frontier_of([100, 200, 400, 800, 1600, 3200])
    measure = Measure(frontier, [0.1, 0.95, 0.2, 0.95, 0.3, 0.95])
    choice = bisect(frontier, measure, 0.9, resolution=0.0)
    assert choice.met
    assert choice.measured[choice.index] == 0.95


def test_a_good_start_saves_measurements() -> None:
    frontier = frontier_of(list(range(1000, 5000, 50)))
    needed = 37
    measure = Measure(frontier, [float(index >= needed) for index in range(len(frontier))])
    choice = bisect(frontier, measure, 0.5, start=needed)
    assert measure.measured_sizes[0] == frontier[needed].weight_bytes
    assert choice.index == needed


@given(sizes, st.floats(-0.5, 1.5))
def test_the_predicted_index_is_the_smallest_that_should_meet_the_minimum(drawn: list[int], least: float) -> None:
    frontier = frontier_of(drawn)
    start = predicted_index(frontier, least)
    assert start is not None
    should = [index for index, point in enumerate(frontier) if point.predicted is not None and point.predicted >= least]
    assert start == (should[0] if should else len(frontier) - 1)


@pytest.mark.parametrize("count", [1, 5, 3000])
def test_the_trade_off_has_the_ends_and_the_measured_and_chosen_points(count: int) -> None:
    frontier = frontier_of(list(range(1000, 1000 + count)))
    chosen = count // 3
    measured = {chosen: 0.8, count - 1: 0.9}
    reported = trade_off(
        frontier, FrontierChoice(chosen, True, measured), measure="agreement", original=1.0, tuned={chosen}
    )
    assert len(reported.points) <= 104
    assert reported.points[reported.chosen].weight_bytes == 1000 + chosen
    assert reported.points[0].weight_bytes == 1000
    assert reported.points[-1].weight_bytes == 999 + count
    assert {point.weight_bytes: point.measured for point in reported.points if point.measured is not None} == {
        1000 + index: value for index, value in measured.items()
    }
    assert [point.weight_bytes for point in reported.points if point.tuned] == [1000 + chosen]
    assert all(point.predicted is not None for point in reported.points)
