"""Accuracy against IoU."""

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from numpy.typing import NDArray

from tests.workers.figures.images import opened
from workers.figures.scatter import Panel, interpretability_figure, interpretability_png

Values = NDArray[np.float64]


def panel(length: int = 3, units: int = 50, r: float | None = -0.31, p: float | None = 0.0284) -> Panel:
    rng = np.random.default_rng(length)
    iou = rng.uniform(0, 0.3, units)
    return Panel(length, iou, 0.9 - iou + rng.normal(0, 0.05, units), r, p)


def of(iou: list[float], accuracy: list[float], r: float | None = None) -> Panel:
    return Panel(2, np.array(iou, np.float64), np.array(accuracy, np.float64), r, None)


def points(axes: Axes) -> Values:
    [found] = [one for one in axes.collections if isinstance(one, PathCollection)]
    return np.asarray(found.get_offsets())


def statistics_text(axes: Axes) -> str:
    return axes.texts[0].get_text()


def test_equal_panels_make_equal_files() -> None:
    made = interpretability_png([panel(1), panel(2)], "nli")
    assert made == interpretability_png([panel(1), panel(2)], "nli")
    assert made != interpretability_png([panel(1), panel(3)], "nli")
    assert opened(made).shape[1] == 960


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 10])
def test_each_length_has_a_panel_and_all_have_the_same_axes(count: int) -> None:
    panels = [panel(length) for length in range(1, count + 1)]
    shown = [axes for axes in interpretability_figure(panels).axes if axes.axison]
    assert [axes.get_title() for axes in shown] == [
        "one concept", *(f"at most {length} concepts" for length in range(2, count + 1))
    ]  # fmt: skip
    for axes, one in zip(shown, panels, strict=True):
        np.testing.assert_allclose(points(axes), np.stack([one.iou, one.accuracy], axis=1))
        assert (axes.get_xlim(), axes.get_ylim()) == (shown[0].get_xlim(), shown[0].get_ylim())
    lowest = [axes for axes in shown if axes.get_xlabel()]
    assert len(lowest) == min(count, 3)
    low, high = shown[0].get_xlim()
    assert all(low < one.iou.min() and one.iou.max() < high for one in panels)


def test_the_line_is_the_one_of_least_squares() -> None:
    one = panel()
    [line] = interpretability_figure([one]).axes[0].get_lines()
    ends = [one.iou.min(), one.iou.max()]
    fitted = np.polyval(np.polyfit(one.iou, one.accuracy, 1), ends)
    np.testing.assert_allclose(np.asarray(line.get_xydata()), np.stack([ends, fitted], axis=1))


@pytest.mark.parametrize(
    ("r", "p", "words"),
    [
        (-0.314, 0.0284, "50 units, r = −0.31, p = 0.028"),
        (0.5, 0.4, "50 units, r = 0.50, p = 0.4"),
        (0.5, 2e-9, "50 units, r = 0.50, p < 0.001"),
        (0.5, None, "50 units, r = 0.50"),
        (None, None, "50 units, r not defined"),
    ],
)
def test_the_correlation_is_written_above(r: float | None, p: float | None, words: str) -> None:
    assert statistics_text(interpretability_figure([panel(r=r, p=p)]).axes[0]) == words


def test_units_that_never_fire_are_left_out() -> None:
    axes = interpretability_figure([of([0.1, 0.2, 0.3, 0.4], [0.5, np.nan, 0.7, 0.9])]).axes[0]
    np.testing.assert_array_equal(points(axes), [[0.1, 0.5], [0.3, 0.7], [0.4, 0.9]])
    assert statistics_text(axes).startswith("3 units")


@pytest.mark.parametrize("iou", [[0.2], [0.2, 0.2], [1e-300, 2e-300]])
def test_units_of_one_iou_have_no_line(iou: list[float]) -> None:
    one = of(iou, [0.5] * len(iou))
    axes = interpretability_figure([one]).axes[0]
    assert not axes.get_lines()
    assert len(points(axes)) == len(iou)
    opened(interpretability_png([one]))


@pytest.mark.parametrize(
    "panels", [[], [of([], [])], [of([0.1], [np.nan])]], ids=["no panel", "no unit", "never fires"]
)
def test_no_data_gives_a_message(panels: list[Panel]) -> None:
    axes = interpretability_figure(panels).axes[0]
    assert axes.texts[-1].get_text() == "no unit"
    opened(interpretability_png(panels, "$x^"))


def test_the_measure_is_in_the_label() -> None:
    axes = interpretability_figure([panel()], measure="recall").axes[0]
    assert axes.get_ylabel() == "recall where it fires"
