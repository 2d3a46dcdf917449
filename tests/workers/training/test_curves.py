"""Loss curves: means over equal fractions of the budget, bounded, and resumable."""

from itertools import pairwise

import pytest

from workers.training.curves import Curves


def add(curves: Curves, steps: range, total: int) -> None:
    for step in steps:
        curves.add(step, step * 0.5, "training", {"up": float(step), "one": 1.0})
        curves.close(step / total)


def filled(steps: int, most: int = 500, total: int | None = None) -> Curves:
    curves = Curves(most)
    add(curves, range(1, steps + 1), total or steps)
    return curves


def test_every_step_of_a_short_run_is_a_point() -> None:
    points = filled(3).points()
    assert [(point.step, point.seconds, point.losses) for point in points] == [
        (1, 0.5, {"up": 1.0, "one": 1.0}),
        (2, 1.0, {"up": 2.0, "one": 1.0}),
        (3, 1.5, {"up": 3.0, "one": 1.0}),
    ]


@pytest.mark.parametrize("steps", [499, 500, 501, 999, 1000, 1001, 12_345])
def test_the_number_of_points_is_bounded_and_every_step_counts(steps: int) -> None:
    points = filled(steps).points()
    assert min(steps, 499) <= len(points) <= 500
    ends = [point.step for point in points]
    assert ends == sorted(set(ends))
    assert ends[-1] == steps
    begin = 0
    for point in points:
        mean = (begin + 1 + point.step) / 2
        assert point.losses == {"up": pytest.approx(mean), "one": pytest.approx(1.0)}
        assert point.seconds == point.step * 0.5
        begin = point.step


def test_points_are_of_equal_fractions() -> None:
    ends = [0, *(point.step for point in filled(2000).points())]
    assert {later - earlier for earlier, later in pairwise(ends)} == {4}


def test_a_measurement_ends_a_point() -> None:
    curves = Curves(2)
    add(curves, range(1, 4), 100)
    curves.measure(3, 1.5, "training", {"agreement": 0.75})
    add(curves, range(4, 6), 100)
    first, second = curves.points()
    assert (first.step, first.losses, first.measured) == (3, {"up": 2.0, "one": 1.0}, {"agreement": 0.75})
    assert (second.step, second.losses, second.measured) == (5, {"up": 4.5, "one": 1.0}, {})


def test_restored_curves_go_on_alike() -> None:
    first, again = filled(777, total=1300), Curves(500)
    again.restore(first.state())
    for curves in (first, again):
        add(curves, range(778, 1300), 1300)
    assert again.points() == first.points()
