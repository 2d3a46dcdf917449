"""The image of a translator's losses: what is in it, and that equal trainings make equal files."""

import math

import pytest

from faceter.contracts.translator_records import LossPoint
from tests.workers.figures.images import opened, where
from workers.figures.figure_style import COLOURS
from workers.figures.loss_curves import loss_curves_png


def point(step: int, **losses: float) -> LossPoint:
    return LossPoint(step=step, seconds=step / 4, losses=losses)


def falling(steps: int = 40) -> list[LossPoint]:
    """Return losses of a generator that fall and those of a discriminator that rise."""
    return [point(10 * i, G_a2b=0.95**i, cycle_a=2 * 0.95**i, D_a=1 - 0.95**i) for i in range(1, steps)]


def test_equal_points_make_equal_files() -> None:
    assert loss_curves_png(falling(), "a run") == loss_curves_png(falling(), "a run")
    assert loss_curves_png(falling(), "a run") != loss_curves_png(falling(), "another")
    assert opened(loss_curves_png(falling(39))).shape[1] == 960


def test_generators_are_above_and_discriminators_below() -> None:
    image = opened(loss_curves_png(falling()))
    middle = len(image) // 2
    for colour, upper, rises in ((COLOURS[0], True, False), (COLOURS[1], True, False), (COLOURS[0], False, True)):
        found = where(image[:, :760], colour)
        found = found[(found[:, 0] < middle) == upper]
        left, right = found[found[:, 1].argmin()], found[found[:, 1].argmax()]
        assert right[1] - left[1] > 150
        assert (right[0] < left[0]) == rises, "rows count downwards"
    assert not (where(image, COLOURS[1])[:, 0] > middle).any(), "one line below"
    assert not len(where(image, COLOURS[2])), "and two above"


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_is_left_out(bad: float) -> None:
    good = falling()
    assert loss_curves_png([*good[:20], point(205, G_a2b=bad), *good[20:]]) == loss_curves_png(good)


@pytest.mark.parametrize(
    "points",
    [[], [point(0)], [point(5, D_a=0.0)], [point(5, G_a2b=2.0)], [point(3, l1=math.nan)]],
    ids=["none", "no losses", "zero", "one", "not finite"],
)
def test_hardly_anything_is_drawn_without_complaint(points: list[LossPoint]) -> None:
    assert opened(loss_curves_png(points)).min() < 200


def test_a_single_point_can_be_seen() -> None:
    assert len(where(opened(loss_curves_png([point(5, G_a2b=2.0)]))[:, :760], COLOURS[0])) > 5


@pytest.mark.parametrize("words", ["$x^", "50 % of $5 & _more_", "a\\b{c"])
def test_a_users_words_are_neither_formulas_nor_warnings(words: str) -> None:
    opened(loss_curves_png(falling(5), words))
