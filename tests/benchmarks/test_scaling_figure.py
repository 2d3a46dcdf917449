"""Time against problem size."""

import numpy as np
import pytest
from matplotlib.axes import Axes

from benchmarks.scaling_figure import ScalingCurve, scaling_figure, scaling_png
from tests.workers.figures.images import opened


def curve(
    exponent: float = 1.0, name: str = "concepts", sizes: tuple[float, ...] = (75, 150, 300, 600)
) -> ScalingCurve:
    return ScalingCurve(name, f"number of {name}", sizes, [0.01 * size**exponent for size in sizes])


def measured(axes: Axes) -> list[list[float]]:
    """Return sizes and times of the line that has markers."""
    [line] = [line for line in axes.get_lines() if line.get_marker() == "o"]
    return [[float(x), float(y)] for x, y in np.asarray(line.get_xydata()).tolist()]


def test_equal_lines_make_equal_files_in_any_order_of_sizes() -> None:
    made = scaling_png([curve(), curve(2)], "search")
    reversed_sizes = ScalingCurve("concepts", "number of concepts", curve().x[::-1], curve().seconds[::-1])
    assert made == scaling_png([reversed_sizes, curve(2)], "search")
    assert made != scaling_png([curve(), curve(2.1)], "search")
    assert opened(made).shape[1] == 960


@pytest.mark.parametrize("count", [1, 3, 4])
def test_each_line_has_a_panel_and_times_have_one_axis(count: int) -> None:
    lines = [curve(1 + index / 4, f"work {index}") for index in range(count)]
    shown = [axes for axes in scaling_figure(lines).axes if axes.axison]
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
    [axes] = scaling_figure([curve(exponent)]).axes
    [words] = [text.get_text() for text in axes.texts]
    assert float(words.rsplit(" ", 1)[1].replace("−", "-")) == pytest.approx(exponent, abs=0.005)
    [law] = [line for line in axes.get_lines() if line.get_marker() != "o"]
    ends = [curve(exponent).seconds[0], curve(exponent).seconds[-1]]
    np.testing.assert_allclose(np.asarray(law.get_ydata(), np.float64), ends)


def test_tick_labels_do_not_overlap_and_the_last_is_always_there() -> None:
    [axes] = scaling_figure([curve(sizes=tuple(range(1, 41)))]).axes
    ticks = axes.get_xticks().tolist()
    assert 3 < len(ticks) < 12
    assert ticks[0] == 1
    assert ticks[-1] == 40


def test_values_without_a_logarithm_are_left_out() -> None:
    line = ScalingCurve("a", "b", [0, 1, 2, 4, 8], [1, 2, 0, float("nan"), 3])
    [axes] = scaling_figure([line]).axes
    assert measured(axes) == [[1, 2], [8, 3]]


@pytest.mark.parametrize("sizes", [(5.0,), (5.0, 5.0)])
def test_a_single_size_is_drawn_without_a_law(sizes: tuple[float, ...]) -> None:
    [axes] = scaling_figure([curve(sizes=sizes)]).axes
    assert len(measured(axes)) == len(sizes)
    assert not axes.texts
    opened(scaling_png([curve(sizes=sizes)]))


@pytest.mark.parametrize("lines", [[], [curve(sizes=())], [curve(sizes=(0.0,))]], ids=["no line", "no size", "size 0"])
def test_no_data_gives_a_message(lines: list[ScalingCurve]) -> None:
    [axes] = scaling_figure(lines).axes
    assert axes.texts[-1].get_text() == "nothing was measured"
    opened(scaling_png(lines, "$x^"))


def test_names_are_not_parsed_as_math() -> None:
    opened(scaling_png([curve(name="$x^ 量子")] * 2))
