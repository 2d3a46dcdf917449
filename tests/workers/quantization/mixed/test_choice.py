"""Choosing from a frontier: the right point, and few measurements to find it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceter.contracts.quantizations import TradeOffPoint
from workers.quantization.mixed.choice import Choice, choose_by_bytes, search, start_of, trade_off
from workers.quantization.mixed.pareto import Frontier


def frontier_of(sizes: list[int]) -> Frontier:
    """Return a frontier of one weight of these sizes, Ω and predicted agreement falling with 1 / size."""
    made = np.array(sorted(set(sizes)), np.int64)
    return Frontier(("w",), np.full((len(made), 1), 4, np.int8), made, 100.0 / made, predict=lambda omega: 1 - omega)


class Measure:
    """Quality by size, and the sizes asked for."""

    def __init__(self, frontier: Frontier, qualities: list[float]) -> None:
        self.qualities: dict[int, float] = dict(zip(frontier.weight_bytes.tolist(), qualities, strict=True))
        self.asked: list[int] = []

    def __call__(self, point: TradeOffPoint) -> float:
        self.asked.append(point.weight_bytes)
        return self.qualities[point.weight_bytes]


sizes = st.lists(st.integers(100, 100_000), min_size=1, max_size=60)


@given(sizes, st.integers(0, 110_000))
def test_by_bytes_it_is_the_largest_that_fits(drawn: list[int], most: int) -> None:
    frontier = frontier_of(drawn)
    choice = choose_by_bytes(frontier, most)
    fitting = [size for size in frontier.weight_bytes if size <= most]
    assert choice.met == bool(fitting)
    assert frontier[choice.index].weight_bytes == (max(fitting) if fitting else min(drawn))


@given(sizes, st.data())
def test_it_finds_the_smallest_that_does(drawn: list[int], data: st.DataObject) -> None:
    frontier = frontier_of(drawn)
    needed = data.draw(st.integers(0, len(frontier)))
    start = data.draw(st.none() | st.integers(0, len(frontier) - 1))
    measure = Measure(frontier, [float(index >= needed) for index in range(len(frontier))])
    choice = search(frontier, measure, 0.5, start=start, most_measured=100, resolution=0.0)
    assert choice.met == (needed < len(frontier))
    if choice.met:
        assert choice.index == needed
    else:
        assert len(frontier) - 1 in choice.measured, "the largest was tried before giving up"
    assert len(measure.asked) == len(set(measure.asked)) == len(choice.measured)


@given(sizes, st.data())
def test_within_the_resolution_and_the_number_of_measurements(drawn: list[int], data: st.DataObject) -> None:
    frontier = frontier_of(drawn)
    needed = data.draw(st.integers(0, len(frontier) - 1))
    measure = Measure(frontier, [float(index >= needed) for index in range(len(frontier))])
    choice = search(frontier, measure, 0.5, most_measured=100, resolution=0.05)
    assert choice.met
    assert frontier[choice.index].weight_bytes <= 1.05 * frontier[needed].weight_bytes
    few = Measure(frontier, list(measure.qualities.values()))
    bounded = search(frontier, few, 0.5, most_measured=3, resolution=0.05)
    assert 1 <= len(few.asked) <= 3
    assert bounded.met, "a frontier whose last point does is never given up"
    assert few.qualities[frontier[bounded.index].weight_bytes] == 1.0


def test_measurements_grow_with_the_logarithm() -> None:
    frontier = frontier_of(list(range(10_000, 40_000, 7)))
    for needed in (0, 17, 2000, len(frontier) - 1):
        measure = Measure(frontier, [float(index >= needed) for index in range(len(frontier))])
        search(frontier, measure, 0.5, most_measured=100)
        steps = math.log(4) / math.log(1.02)
        assert len(measure.asked) <= math.log2(steps) + 2


def test_out_of_reach_it_ends_with_the_best_and_says_so() -> None:
    frontier = frontier_of([100, 200, 400, 800, 1600])
    measure = Measure(frontier, [0.1, 0.2, 0.7, 0.4, 0.6])
    choice = search(frontier, measure, 0.9)
    assert not choice.met
    assert 1600 in measure.asked
    assert measure.qualities[frontier[choice.index].weight_bytes] == max(choice.measured.values())


def test_where_quality_does_not_grow_the_choice_still_does() -> None:
    frontier = frontier_of([100, 200, 400, 800, 1600, 3200])
    measure = Measure(frontier, [0.1, 0.95, 0.2, 0.95, 0.3, 0.95])
    choice = search(frontier, measure, 0.9, resolution=0.0)
    assert choice.met
    assert choice.measured[choice.index] == 0.95


def test_a_good_first_guess_saves_measurements() -> None:
    frontier = frontier_of(list(range(1000, 5000, 50)))
    needed = 37
    measure = Measure(frontier, [float(index >= needed) for index in range(len(frontier))])
    choice = search(frontier, measure, 0.5, start=needed)
    assert measure.asked[0] == frontier[needed].weight_bytes
    assert choice.index == needed


@given(sizes, st.floats(-0.5, 1.5))
def test_the_first_guess_is_the_smallest_that_should_do(drawn: list[int], least: float) -> None:
    frontier = frontier_of(drawn)
    start = start_of(frontier, least)
    assert start is not None
    should = [index for index, point in enumerate(frontier) if point.predicted is not None and point.predicted >= least]
    assert start == (should[0] if should else len(frontier) - 1)


@pytest.mark.parametrize("count", [1, 5, 3000])
def test_the_report_tells_ends_measured_and_chosen_points(count: int) -> None:
    frontier = frontier_of(list(range(1000, 1000 + count)))
    chosen = count // 3
    measured = {chosen: 0.8, count - 1: 0.9}
    told = trade_off(frontier, Choice(chosen, True, measured), measure="agreement", original=1.0, tuned={chosen})
    assert len(told.points) <= 104
    assert told.points[told.chosen].weight_bytes == 1000 + chosen
    assert told.points[0].weight_bytes == 1000
    assert told.points[-1].weight_bytes == 999 + count
    assert {point.weight_bytes: point.measured for point in told.points if point.measured is not None} == {
        1000 + index: value for index, value in measured.items()
    }
    assert [point.weight_bytes for point in told.points if point.tuned] == [1000 + chosen]
    assert all(point.predicted is not None for point in told.points)
