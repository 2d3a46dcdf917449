"""Histograms of distances to the nearest real sample: normalized, with counts of zeros and tails."""

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.patches import StepPatch
from numpy.typing import NDArray

from tests.workers.figures.images import opened
from workers.figures.figure_style import GENERATED, REAL
from workers.figures.nearest_distances import distances_figure, distances_png

Distances = NDArray[np.float64]


def around(mean: float, count: int) -> Distances:
    return np.random.default_rng(count).normal(mean, 0.5, count)


def axes_of(generated: Distances, real: Distances) -> Axes:
    [axes] = distances_figure(generated, real).axes
    return axes


def bars(axes: Axes, colour: str) -> dict[float, float]:
    """Return what the bars of a set show, in %, by their left edges."""
    found: dict[float, float] = {}
    for patch in axes.patches:
        if isinstance(patch, StepPatch) and patch.get_fill() and matches(patch, colour):
            values, edges, _ = patch.get_data()
            found |= dict(zip(edges.tolist(), values.tolist(), strict=False))
    return dict(sorted(found.items()))


def matches(patch: StepPatch, colour: str) -> bool:
    rgb = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    return bool(np.allclose(patch.get_facecolor()[:3], rgb))


def legend_text(axes: Axes) -> str:
    legend = axes.get_legend()
    assert legend is not None
    return "\n".join(text.get_text() for text in legend.get_texts())


def test_equal_distances_make_equal_files() -> None:
    made = distances_png(around(9, 300), around(8, 400), "a gan")
    assert made == distances_png(around(9, 300), around(8, 400), "a gan")
    assert made != distances_png(around(8, 400), around(9, 300), "a gan")
    assert opened(made).shape[1] == 960


def test_bars_are_normalized_to_their_own_set_in_common_bins() -> None:
    generated, real = around(9, 100), around(8, 5000)
    axes = axes_of(generated, real)
    shown = bars(axes, GENERATED), bars(axes, REAL)
    assert list(shown[0]) == list(shown[1])
    assert [sum(bar.values()) for bar in shown] == pytest.approx([100, 100])
    tallest = [max(bar, key=lambda edge: bar[edge]) for bar in shown]
    assert tallest[0] - tallest[1] == pytest.approx(1, abs=0.7)
    assert "100 generated samples" in legend_text(axes)
    assert "5,000 real samples" in legend_text(axes)


def test_copies_show_at_the_left_and_in_the_legend() -> None:
    axes = axes_of(np.append(np.zeros(25), around(9, 75)), around(8, 400))
    assert axes.get_xscale() == "linear"
    assert next(iter(bars(axes, GENERATED).items())) == (0, 25)
    assert "25 (25 %) at 0, copies" in legend_text(axes)
    assert "duplicates" not in legend_text(axes)


def test_a_wide_spread_gets_a_logarithmic_axis_with_a_bar_for_0() -> None:
    wide = np.geomspace(1e-3, 1e3, 900)
    axes = axes_of(wide, np.append(np.zeros(100), wide))
    assert axes.get_xscale() == "log"
    assert axes.xaxis.get_ticklabels()[0].get_text() == "0"
    generated, real = bars(axes, GENERATED), bars(axes, REAL)
    assert [next(iter(bar.values())) for bar in (generated, real)] == [0, 10]
    assert [sum(bar.values()) for bar in (generated, real)] == pytest.approx([100, 100])
    assert "100 (10 %) at 0, duplicates" in legend_text(axes)


def test_a_few_far_away_are_counted_and_do_not_shrink_the_rest() -> None:
    axes = axes_of(np.append(around(9, 997), [4e5, 5e5, 6e5]), around(8, 1000))
    assert axes.get_xlim()[1] < 20
    assert "3 (0.3 %) beyond the axis,\nup to 6e+05" in legend_text(axes)
    assert sum(bars(axes, GENERATED).values()) == pytest.approx(99.7)
    assert legend_text(axes).count("beyond") == 1


@pytest.mark.parametrize(
    ("generated", "real"),
    [
        (np.zeros(5), np.zeros(9)),
        (np.zeros(5), np.ones(9)),
        (np.full(5, 3.0), np.full(9, 3.0)),
        (np.full(5, 1e-200), np.full(9, 1e-200)),
        (1e12 + np.arange(5.0), 1e12 + np.arange(9.0)),
        (np.array([2.0]), np.array([2.5, 3.0])),
        (np.array([1e-30, 1e30]), np.array([0.0, 1e30])),
    ],
    ids=["zero", "copies", "constant", "tiny", "far", "one", "extreme"],
)
def test_hardly_anything_is_drawn_whole(generated: Distances, real: Distances) -> None:
    axes = axes_of(generated, real)
    for distances, colour in ((generated, GENERATED), (real, REAL)):
        assert sum(bars(axes, colour).values()) == pytest.approx(100), distances
    opened(distances_png(generated, real, "$x^ & 50 %"))


def test_an_empty_set_gives_a_message() -> None:
    none = np.zeros(0)
    assert "no distances of real samples" in legend_text(axes_of(around(9, 50), none))
    assert "no distances of generated samples" in legend_text(axes_of(none, around(9, 50)))
    assert [text.get_text() for text in axes_of(none, none).texts] == ["there are no distances"]
    opened(distances_png(none, none))
