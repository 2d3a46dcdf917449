"""The image of size against quality."""

import pytest

from faceter.contracts.quantizations import TradeOff, TradeOffPoint
from tests.workers.figures.images import opened, where
from workers.figures.figure_style import COLOURS
from workers.figures.trade_off import trade_off_png

CHOSEN = "#d55e00"


def frontier(
    chosen: int = 3, *, predicted: bool = True, measured: tuple[int, ...] = (), tuned: bool = False, count: int = 20
) -> TradeOff:
    points = [
        TradeOffPoint(
            weight_bytes=50_000 + 5_000 * index,
            sensitivity=4.0 * 0.6**index,
            bits={"first": 8, "second": 2 + index % 7},
            predicted=1 - 0.8 * 0.7**index if predicted else None,
            measured=0.8 if index in measured else None,
            tuned=tuned and index in measured,
        )
        for index in range(count)
    ]
    return TradeOff(measure="agreement", original=1.0, points=points, chosen=chosen, met=True)


def test_equal_input_makes_equal_files() -> None:
    made = trade_off_png(frontier(), "resnet20")
    assert made == trade_off_png(frontier(), "resnet20")
    assert made != trade_off_png(frontier(chosen=4), "resnet20")
    assert opened(made).shape[1] == 960


def test_the_star_is_where_the_chosen_point_is() -> None:
    small, large = (where(opened(trade_off_png(frontier(chosen, predicted=False))), CHOSEN) for chosen in (2, 17))
    assert small[:, 1].mean() < 300
    assert large[:, 1].mean() > 700
    assert small[:, 0].min() < large[:, 0].max()


def test_what_was_measured_is_marked_and_filled_after_tuning() -> None:
    none, rounded, tuned = (
        len(where(opened(trade_off_png(frontier(measured=measured, tuned=after))), COLOURS[2]))
        for measured, after in (((), False), ((5, 9), False), ((5, 9), True))
    )
    assert none == 0
    assert 0 < rounded < tuned


def test_without_quality_there_is_one_panel() -> None:
    alone, both = opened(trade_off_png(frontier(predicted=False))), opened(trade_off_png(frontier()))
    assert len(both) > 1.5 * len(alone)


@pytest.mark.parametrize("measure", ["agreement", "accuracy"])
def test_a_single_point_of_no_sensitivity_is_drawn(measure: str) -> None:
    point = TradeOffPoint(weight_bytes=1000, sensitivity=0.0, bits={}, predicted=1.0)
    only = TradeOff.model_validate({"measure": measure, "original": 0.9, "points": [point], "chosen": 0, "met": False})
    assert len(where(opened(trade_off_png(only, "$")), CHOSEN))
