"""The image of time against size."""

import numpy as np
import pytest
from matplotlib.axes import Axes

from tests.workers.figures.images import opened
from workers.figures.growth import Growth, growth_figure, growth_png


def growth(exponent: float = 1.0, name: str = "concepts", sizes: tuple[float, ...] = (75, 150, 300, 600)) -> Growth:
    return Growth(name, f"number of {name}", sizes, [0.01 * size**exponent for size in sizes])


def measured(axes: Axes) -> list[list[float]]:
    """Return sizes and times of the line that has markers."""
    [line] = [line for line in axes.get_lines() if line.get_marker() == "o"]
    return [[float(x), float(y)] for x, y in np.asarray(line.get_xydata()).tolist()]


def test_equal_lines_make_equal_files_in_any_order_of_sizes() -> None:
    made = growth_png([growth(), growth(2)], "search")
    turned = Growth("concepts", "number of concepts", growth().x[::-1], growth().seconds[::-1])
    assert made == growth_png([turned, growth(2)], "search")
    assert made != growth_png([growth(), growth(2.1)], "search")
    assert opened(made).shape[1] == 960


@pytest.mark.parametrize("count", [1, 3, 4])
def test_each_line_has_a_panel_and_times_have_one_axis(count: int) -> None:
    lines = [growth(1 + index / 4, f"work {index}") for index in range(count)]
    shown = [axes for axes in growth_figure(lines).axes if axes.axison]
    assert [axes.get_title() for axes in shown] == [line.name for line in lines]
    for axes, line in zip(shown, lines, strict=True):
        assert measured(axes) == [list(pair) for pair in zip(line.x, line.seconds, strict=True)]
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
        assert axes.get_ylim() == shown[0].get_ylim()
        assert axes.get_xticks().tolist() == list(line.x)
        low, high = axes.get_ylim()
        assert low < min(line.seconds) <= max(line.seconds) < high


@pytest.mark.parametrize("exponent", [-0.5, 0.0, 1.0, 2.0])
def test_the_exponent_of_a_power_law_is_found(exponent: float) -> None:
    [axes] = growth_figure([growth(exponent)]).axes
    [words] = [text.get_text() for text in axes.texts]
    assert float(words.rsplit(" ", 1)[1].replace("−", "-")) == pytest.approx(exponent, abs=0.005)
    [law] = [line for line in axes.get_lines() if line.get_marker() != "o"]
    ends = [growth(exponent).seconds[0], growth(exponent).seconds[-1]]
    np.testing.assert_allclose(np.asarray(law.get_ydata(), np.float64), ends)


def test_only_sizes_with_room_are_written_the_last_always() -> None:
    [axes] = growth_figure([growth(sizes=tuple(range(1, 41)))]).axes
    ticks = axes.get_xticks().tolist()
    assert 3 < len(ticks) < 12
    assert ticks[0] == 1
    assert ticks[-1] == 40


def test_what_a_logarithmic_axis_cannot_show_is_left_out() -> None:
    line = Growth("a", "b", [0, 1, 2, 4, 8], [1, 2, 0, float("nan"), 3])
    [axes] = growth_figure([line]).axes
    assert measured(axes) == [[1, 2], [8, 3]]


@pytest.mark.parametrize("sizes", [(5.0,), (5.0, 5.0)])
def test_a_single_size_is_drawn_without_a_law(sizes: tuple[float, ...]) -> None:
    [axes] = growth_figure([growth(sizes=sizes)]).axes
    assert len(measured(axes)) == len(sizes)
    assert not axes.texts
    opened(growth_png([growth(sizes=sizes)]))


@pytest.mark.parametrize(
    "lines", [[], [growth(sizes=())], [growth(sizes=(0.0,))]], ids=["no line", "no size", "size 0"]
)
def test_nothing_to_draw_is_said(lines: list[Growth]) -> None:
    [axes] = growth_figure(lines).axes
    assert axes.texts[-1].get_text() == "nothing was measured"
    opened(growth_png(lines, "$x^"))


def test_names_are_not_taken_for_formulas() -> None:
    opened(growth_png([growth(name="$x^ 量子")] * 2))
