"""Loss curves: means, never more than 500 points, and going on."""

from itertools import pairwise

import pytest

from workers.translation.curves import MOST_POINTS, Curves


def filled(steps: int) -> Curves:
    curves = Curves()
    for step in range(1, steps + 1):
        curves.add(step, step * 0.5, {"up": float(step), "one": 1.0})
    return curves


def test_at_first_every_step_is_a_point() -> None:
    points = filled(3).points()
    assert [(point.step, point.seconds, point.losses) for point in points] == [
        (1, 0.5, {"up": 1.0, "one": 1.0}),
        (2, 1.0, {"up": 2.0, "one": 1.0}),
        (3, 1.5, {"up": 3.0, "one": 1.0}),
    ]


@pytest.mark.parametrize("steps", [499, 500, 501, 999, 1000, 1001, 12_345])
def test_there_are_never_more_points_and_every_step_counts(steps: int) -> None:
    points = filled(steps).points()
    assert MOST_POINTS / 2 <= len(points) <= MOST_POINTS
    ends = [point.step for point in points]
    assert ends == sorted(set(ends))
    assert ends[-1] == steps
    begin = 0
    for point in points:
        mean = (begin + 1 + point.step) / 2
        assert point.losses == {"up": pytest.approx(mean), "one": pytest.approx(1.0)}
        assert point.seconds == point.step * 0.5
        begin = point.step


def test_points_are_of_equally_many_steps_but_for_the_last() -> None:
    ends = [0, *(point.step for point in filled(1001).points())]
    widths = [later - earlier for earlier, later in pairwise(ends)]
    assert set(widths[:-1]) == {4}
    assert widths[-1] == 1


def test_they_go_on_as_they_were() -> None:
    first = filled(777)
    again = Curves()
    again.restore(first.state())
    for curves in (first, again):
        for step in range(778, 1300):
            curves.add(step, step * 0.5, {"up": float(step), "one": 1.0})
    assert again.points() == first.points()


def test_what_was_gone_back_from_is_dropped() -> None:
    curves = filled(600)
    curves.drop_after(101)
    assert curves.points()[-1].step == 100
    curves.add(102, 51.0, {"up": 7.0, "one": 1.0})
    assert curves.points()[-1].losses["up"] == 7.0
