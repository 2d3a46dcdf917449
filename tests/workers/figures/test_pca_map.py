"""The PCA map of both sets: samples, highlights, and notes about omitted samples."""

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from tests.workers.figures.images import opened
from workers.figures.pca_map import pca_map_figure, pca_map_png

Points = NDArray[np.float64]
EXPLAINED = 0.314, 0.0042


def cloud(count: int, shift: float = 0.0) -> Points:
    return np.random.default_rng(count).normal(shift, 1, (count, 2))


def lines(axes: Axes) -> dict[str, Line2D]:
    return {str(line.get_label()).replace("\n", " "): line for line in axes.get_lines()}


def placed(line: Line2D) -> Points:
    return np.asarray(line.get_xydata())


def test_equal_samples_make_equal_files() -> None:
    made = pca_map_png(cloud(50), cloud(40, 2), EXPLAINED, title="a gan")
    assert made == pca_map_png(cloud(50), cloud(40, 2), EXPLAINED, title="a gan")
    assert made != pca_map_png(cloud(40, 2), cloud(50), EXPLAINED, title="a gan")
    assert opened(made).shape[1] == 960


def test_axes_and_note() -> None:
    figure = pca_map_figure(cloud(50), cloud(40), EXPLAINED)
    [axes] = figure.axes
    assert axes.get_xlabel() == "first principal component\n(31 % of the variance of real samples)"
    assert axes.get_ylabel() == "second principal component\n(0.4 % of the variance of real samples)"
    assert figure.get_supxlabel().startswith("Principal component analysis of the real samples")
    assert "may be distant" in figure.get_supxlabel()
    assert "drawn" not in figure.get_supxlabel()
    assert "outside the frame" not in figure.get_supxlabel()
    assert list(lines(axes)) == ["50 real samples", "40 generated samples"]


def test_highlighted_samples_differ_in_marker_and_colour() -> None:
    real, generated = cloud(50), cloud(40, 3)
    outside, uncovered = np.arange(40) < 10, np.arange(50) < 7
    [axes] = pca_map_figure(real, generated, EXPLAINED, outside, uncovered).axes
    found = lines(axes)
    expected = {
        "43 real samples, covered": real[7:],
        "7 real samples, uncovered: no generated one in the ball": real[:7],
        "30 generated samples, inside": generated[10:],
        "10 generated samples, outside: in no real ball": generated[:10],
    }
    assert list(found) == list(expected)
    for name, points in expected.items():
        np.testing.assert_array_equal(placed(found[name]), points)
    assert len({str(line.get_marker()) for line in found.values()}) == 4
    assert len({str(line.get_color()) for line in found.values()}) == 4


def test_both_components_have_one_scale() -> None:
    figure = pca_map_figure(cloud(50) * [9, 1], cloud(40), EXPLAINED)
    [axes] = figure.axes
    width, height = figure.get_size_inches() * axes.get_position().size
    assert np.ptp(axes.get_xlim()) / width == pytest.approx(np.ptp(axes.get_ylim()) / height)


def test_large_sets_are_subsampled_with_a_note() -> None:
    outside = np.arange(20_000) % 2 == 0
    figure = pca_map_figure(cloud(100), cloud(20_000), EXPLAINED, outside)
    assert "Of 20,000 generated samples 4,000 are drawn, chosen at random" in figure.get_supxlabel()
    found = lines(figure.axes[0])
    shown = [
        len(placed(found[f"10,000 generated samples, {where}"])) for where in ("inside", "outside: in no real ball")
    ]
    assert sum(shown) == 4000
    assert min(shown) > 1800, "a rule such as every fifth would take all or none"


def test_a_few_far_away_are_counted_and_do_not_shrink_the_rest() -> None:
    figure = pca_map_figure(cloud(500), np.concatenate([cloud(499), [[1e4, -1e4]]]), EXPLAINED)
    assert np.abs([figure.axes[0].get_xlim(), figure.axes[0].get_ylim()]).max() < 10
    assert "Of 500 generated samples 1 is outside the frame." in figure.get_supxlabel()


@pytest.mark.parametrize("far", [0.0, 1e9], ids=["origin", "far"])
def test_all_samples_of_one_place_are_drawn(far: float) -> None:
    same = np.full((3, 2), far)
    [axes] = pca_map_figure(same, same[:1], (0.0, 0.0), np.array([True]), np.ones(3, np.bool_), "$x^").axes
    assert all(low < far < high for low, high in (axes.get_xlim(), axes.get_ylim()))
    opened(pca_map_png(same, same[:1], (0.0, 0.0), title="$x^ & " * 40))


def test_an_empty_set_gives_a_message() -> None:
    none = np.zeros((0, 2))
    assert "no generated samples" in lines(pca_map_figure(cloud(9), none, EXPLAINED).axes[0])
    assert "no real samples" in lines(pca_map_figure(none, cloud(9), EXPLAINED).axes[0])
    [axes] = pca_map_figure(none, none, (0.0, 0.0)).axes
    assert [text.get_text() for text in axes.texts] == ["there are no samples"]
    opened(pca_map_png(none, none, (0.0, 0.0)))
