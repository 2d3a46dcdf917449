"""Metrics against k."""

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from faceter.contracts.evaluations import SweepPoint
from tests.workers.figures.images import opened, where
from workers.figures.figure_style import COLOURS
from workers.figures.sweep import sweep_figure, sweep_png


def point(k: int, density: float = 0.8, expected: float | None = 0.97, **values: float) -> SweepPoint:
    expected_values = {} if expected is None else {"density": 1.0, "coverage": expected}
    return SweepPoint(k=k, values={"density": density, "coverage": 0.5 + k / 200, **values}, expected=expected_values)


def drawn(axes: Axes) -> dict[str, Line2D]:
    """Return the lines with names."""
    lines = axes.get_lines()
    return {str(line.get_label()): line for line in lines if not str(line.get_label()).startswith("_")}


def placed(line: Line2D) -> list[list[float]]:
    return [list(pair) for pair in np.asarray(line.get_xydata()).tolist()]


def expected_lines(axes: Axes) -> list[Line2D]:
    return [line for line in axes.get_lines() if str(line.get_label()).startswith("_")]


def test_equal_points_make_equal_files_in_any_order() -> None:
    points = [point(k) for k in (5, 3, 10)]
    made = sweep_png(points, "a gan")
    assert made == sweep_png(sorted(points, key=lambda one: one.k), "a gan")
    assert made != sweep_png(points[:2], "a gan")
    assert opened(made).shape[1] == 960


def test_expected_values_are_dashed_in_the_colour_of_their_metric() -> None:
    figure = sweep_figure([point(k, expected=1 - 0.6**k, precision=0.7) for k in (1, 2, 4)])
    [axes] = figure.axes
    lines = drawn(axes)
    assert list(lines) == ["density", "coverage", "precision", "expected if both sets\ncame from the same distribution"]
    assert placed(lines["coverage"]) == [[k, 0.5 + k / 200] for k in (1, 2, 4)]
    assert {line.get_linestyle() for line in expected_lines(axes)} == {"--"}
    found = {line.get_color(): placed(line) for line in expected_lines(axes)}
    assert found == {
        lines["density"].get_color(): [[k, 1.0] for k in (1, 2, 4)],
        lines["coverage"].get_color(): [[k, 1 - 0.6**k] for k in (1, 2, 4)],
    }


def test_a_metric_keeps_its_colour_whatever_else_is_drawn() -> None:
    alone = SweepPoint(k=5, values={"coverage": 0.5}, expected={})
    colours = [drawn(sweep_figure([one]).axes[0])["coverage"].get_color() for one in (alone, point(5))]
    assert colours == [COLOURS[1]] * 2


def test_a_density_far_above_1_has_a_panel_of_its_own() -> None:
    both = sweep_figure([point(k, 2 + 9 / k) for k in (1, 2, 3)]).axes
    assert [next(iter(drawn(axes))) for axes in both] == ["density", "coverage"]
    assert both[1].get_ylim()[1] < 1.2 < 10 < both[0].get_ylim()[1]
    assert len(sweep_figure([point(k, 1.1) for k in (1, 2, 3)]).axes) == 1
    assert len(sweep_figure([SweepPoint(k=1, values={"density": 7.0}, expected={})]).axes) == 1


@pytest.mark.parametrize(("ks", "scale"), [((1, 3, 10), "log"), ((3, 5, 10), "linear"), ((5,), "linear")])
def test_the_axis_of_k_is_logarithmic_where_k_spans_much_and_marks_each(ks: tuple[int, ...], scale: str) -> None:
    [axes] = sweep_figure([point(k) for k in ks]).axes
    assert axes.get_xscale() == scale
    assert axes.get_xticks().tolist() == list(ks)
    assert axes.get_xlim()[0] < ks[0] <= ks[-1] < axes.get_xlim()[1]


def test_a_single_k_shows_values_and_expected_values() -> None:
    [axes] = sweep_figure([point(5)]).axes
    assert placed(drawn(axes)["density"]) == [[5, 0.8]]
    assert [placed(line) for line in expected_lines(axes)] == [[[5, 1.0]], [[5, 0.97]]]
    assert {line.get_marker() for line in expected_lines(axes)} == {"_"}, "a line of one point is not seen"
    assert not expected_lines(sweep_figure([point(5, expected=None)]).axes[0])
    image = opened(sweep_png([point(5)]))[:, :700]
    assert all(len(where(image, colour)) > 15 for colour in COLOURS[:2])


@pytest.mark.parametrize("points", [[], [SweepPoint(k=5, values={}, expected={})]], ids=["none", "no metric"])
def test_no_data_gives_a_message(points: list[SweepPoint]) -> None:
    [axes] = sweep_figure(points, "$x^").axes
    assert [text.get_text() for text in axes.texts] == ["no metric depends on k"]
    opened(sweep_png(points, "$x^"))
