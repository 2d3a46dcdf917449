"""Histograms of bootstrap replicates."""

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle, StepPatch
from numpy.typing import NDArray

from tests.workers.figures.images import opened
from workers.figures.bootstrap_histograms import bootstrap_figure, bootstrap_png


def replicates(mean: float, deviation: float = 0.01, count: int = 200) -> NDArray[np.float64]:
    return np.random.default_rng(0).normal(mean, deviation, count)


def panel(values: NDArray[np.float64], value: float, expected: float | None = None) -> Axes:
    expected_values = {} if expected is None else {"density": expected}
    [axes] = bootstrap_figure({"density": values}, {"density": value}, expected_values).axes
    return axes


def verticals(axes: Axes, style: str) -> list[float]:
    return [float(line.get_xdata()[0]) for line in axes.get_lines() if line.get_linestyle() == style]  # type: ignore[index,arg-type]


def words(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_equal_values_make_equal_files() -> None:
    arguments = (
        {"density": replicates(0.9), "coverage": replicates(0.8)},
        {"density": 0.9, "coverage": 0.8},
        {"density": 1.0},
    )
    made = bootstrap_png(*arguments, "a gan")
    assert made == bootstrap_png(*arguments, "a gan")
    assert made != bootstrap_png({**arguments[0], "density": replicates(0.91)}, *arguments[1:], "a gan")
    assert opened(made).shape[1] == 960


def test_a_panel_shows_replicates_value_interval_and_expected_value() -> None:
    values = replicates(0.9)
    axes = panel(values, 0.902, 0.95)
    [histogram] = [patch for patch in axes.patches if isinstance(patch, StepPatch)]
    assert histogram.get_data()[0].sum() == pytest.approx(100)
    [shade] = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    ends = [shade.get_x(), shade.get_x() + shade.get_width()]
    assert ends == pytest.approx(np.percentile(values, [2.5, 97.5]))
    assert verticals(axes, "-") == [0.902]
    assert verticals(axes, "--") == [0.95]
    assert words(axes) == [f"0.902,  95 %: {ends[0]:.3f} to {ends[1]:.3f}"]


@pytest.mark.parametrize(("expected", "arrow"), [(5.0, "expected\n5 →"), (-5.0, "expected\n← -5")])
def test_a_distant_expected_value_gets_an_arrow(expected: float, arrow: str) -> None:
    axes = panel(replicates(0.9), 0.9, expected)
    assert words(axes)[0] == arrow
    assert not verticals(axes, "--")
    assert np.ptp(axes.get_xlim()) < 0.2, "the histogram keeps its width"


def test_a_value_outside_the_replicates_is_within_the_axis() -> None:
    low, high = panel(replicates(13.4, 0.3), 9.0).get_xlim()
    assert low < 9 < 13.4 < high


def test_each_metric_has_a_panel_named_after_it() -> None:
    names = ["density", "coverage", "clipped_density", "fid"]
    figure = bootstrap_figure({name: replicates(0.9) for name in names}, dict.fromkeys(names, 0.9), {})
    titles = [axes.get_title(loc="left") or axes.get_title() for axes in figure.axes if axes.axison]
    assert titles == ["density", "coverage", "clipped density", "fid"]
    [legend] = figure.legends
    assert not any("expected" in text.get_text() for text in legend.get_texts())


@pytest.mark.parametrize("values", [np.zeros(5), np.ones(1), np.full(9, -3.5), 1 + 1e-15 * np.arange(5)])
def test_values_that_do_not_vary_are_one_bar(values: NDArray[np.float64]) -> None:
    axes = panel(values, float(values[0]), 1.0)
    [histogram] = [patch for patch in axes.patches if isinstance(patch, StepPatch)]
    assert sorted(histogram.get_data()[0])[-2:] == [0, 100]
    opened(bootstrap_png({"density": values}, {"density": float(values[0])}, {"density": 1.0}, "$x^ & 50 %" * 30))


def test_no_replicates_give_a_message() -> None:
    for values in ({}, {"density": np.zeros(0)}):
        [axes] = bootstrap_figure(values, {"density": 1.0}, {}).axes
        assert words(axes) == ["no bootstrap replicates"]
    opened(bootstrap_png({}, {}, {}, "none"))
