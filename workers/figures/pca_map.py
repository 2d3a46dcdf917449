"""Real and generated samples by the first two principal components of the real ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from workers.figures.figure_style import (
    GENERATED,
    REAL,
    legend_beside,
    new_figure,
    png,
    sample_count,
    set_title,
    show_no_data,
    style,
    title_height,
)

Points = NDArray[np.float64]
Mask = NDArray[np.bool_]

_MAX_SAMPLES = 4000
_NEARLY_ALL = (0.5, 99.5)
_MIN_ASPECT = 0.55
_WIDTH, _LEFT, _PANEL = 8.0, 0.85, 4.7
_LINE_HEIGHT = 0.16
_WARNING = "Principal component analysis of the real samples: neighbours here may be distant in the feature space."


@dataclass(frozen=True)
class _SetStyle:
    """Labels, colours and markers of the samples of a set; highlighted ones have their own."""

    name: str
    label: str
    highlighted_label: str
    colour: str
    highlighted_colour: str
    marker: str
    highlighted_marker: str


_REAL = _SetStyle("real", "covered", "uncovered:\nno generated one in the ball", REAL, "#003f66", "o", "s")
_GENERATED = _SetStyle("generated", "inside", "outside:\nin no real ball", GENERATED, "#8c3d00", "+", "x")


def pca_map_png(
    real: Points,
    generated: Points,
    explained: tuple[float, float],
    outside: Mask | None = None,
    uncovered: Mask | None = None,
    title: str | None = None,
) -> bytes:
    """Draw real and generated samples by the first two principal components of the real ones, with equal scales.

    Of each set at most 4,000 samples, chosen at random, are drawn. The frame covers nearly all samples of both sets; a
    note counts those outside.

    Args:
        real: Components of the real samples, float64 [N, 2].
        generated: The same components of the generated ones, float64 [M, 2].
        explained: Fraction of the variance of real samples along each component.
        outside: Which generated samples are in no real ball, bool [M].
        uncovered: Which real samples have no generated one in their ball, bool [N].
        title: Of the figure.

    Returns:
        A PNG file, 960 pixels wide.
    """
    with style():
        return png(pca_map_figure(real, generated, explained, outside, uncovered, title))


def pca_map_figure(
    real: Points,
    generated: Points,
    explained: tuple[float, float],
    outside: Mask | None = None,
    uncovered: Mask | None = None,
    title: str | None = None,
) -> Figure:
    """Return the figure of `pca_map_png`, to be saved in the same `style`."""
    sets = [points for points in (real, generated) if len(points)]
    limits = _limits(sets) if sets else np.array([[0.0, 1.0], [0.0, 1.0]])
    (left, right), (lower, upper) = limits
    omitted = [_omitted_note(name, points, limits) for name, points in (("real", real), ("generated", generated))]
    notes = [_WARNING, *(note for note in omitted if note is not None)]
    bottom, top = 0.75 + _LINE_HEIGHT * len(notes), 0.15 + title_height(title, _WIDTH)
    height = bottom + _PANEL * (upper - lower) / (right - left) + top
    # constrained layout cuts labels off when the aspect is fixed
    figure = new_figure(_WIDTH, height, constrained=False)
    axes = figure.add_axes((_LEFT / _WIDTH, bottom / height, _PANEL / _WIDTH, 1 - (bottom + top) / height))
    axes.set(xlim=(left, right), ylim=(lower, upper), aspect="equal")
    axes.ticklabel_format(scilimits=(-3, 4))
    axes.set_xlabel(_label("first", explained[0]))
    axes.set_ylabel(_label("second", explained[1]))
    if not sets:
        show_no_data(axes, "there are no samples")
    for set_style, points, highlighted in ((_REAL, real, uncovered), (_GENERATED, generated, outside)):
        _draw(axes, set_style, points, highlighted)
    legend_beside(axes)
    figure.supxlabel("\n".join(notes), x=0.08 / _WIDTH, y=0.08 / height, ha="left", va="bottom", fontsize=8)
    set_title(figure, title)
    return figure


def _label(which: str, fraction: float) -> str:
    percent = 100 * fraction
    number = f"{percent:.0f}" if percent >= 1 or percent == 0 else f"{percent:.1g}"
    return f"{which} principal component\n({number} % of the variance of real samples)"


def _limits(sets: list[Points]) -> Points:
    """Return the range of both components, [2, 2], that covers nearly all samples of each set."""
    both = np.concatenate(sets)
    low, high = both.min(axis=0), both.max(axis=0)
    bulks = [np.percentile(points, _NEARLY_ALL, axis=0) for points in sets]
    inner_low = np.min([bulk[0] for bulk in bulks], axis=0)
    inner_high = np.max([bulk[1] for bulk in bulks], axis=0)
    margin = 0.5 * (inner_high - inner_low)
    low = np.where(margin > 0, np.maximum(low, inner_low - margin), low)
    high = np.where(margin > 0, np.minimum(high, inner_high + margin), high)
    spans = 1.08 * (high - low)
    width = spans.max()
    if width <= 1e-9 * np.abs(both).max():
        width = 0.1 * np.abs(both).max() or 1.0
    spans = np.array([width, max(spans[1], _MIN_ASPECT * width)])
    centre = (low + high) / 2
    return np.stack([centre - spans / 2, centre + spans / 2], axis=1)


def _omitted_note(name: str, points: Points, limits: Points) -> str | None:
    """Return how many samples are drawn and how many lie outside the frame; None if all are visible."""
    shown = len(_plotted_rows(len(points)))
    outside = np.count_nonzero(((points < limits[:, 0]) | (points > limits[:, 1])).any(axis=1))
    parts = [f"{shown:,} are drawn, chosen at random"] if shown < len(points) else []
    parts += [f"{outside:,} {'is' if outside == 1 else 'are'} outside the frame"] if outside else []
    return f"Of {sample_count(len(points), name)} {', '.join(parts)}." if parts else None


def _plotted_rows(count: int) -> NDArray[np.intp]:
    """Return the rows to draw: a random subset, since samples may be sorted."""
    if count <= _MAX_SAMPLES:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).permutation(count)[:_MAX_SAMPLES])


def _draw(axes: Axes, set_style: _SetStyle, points: Points, highlighted: Mask | None) -> None:
    if not len(points):
        axes.plot([], [], linestyle="none", label=f"no {set_style.name} samples")
        return
    shown = _plotted_rows(len(points))
    mask = np.zeros(len(points), np.bool_) if highlighted is None else highlighted
    plain, special = points[shown[~mask[shown]]], points[shown[mask[shown]]]
    emphasis = min(1.0, (300 / max(len(plain), 1)) ** 0.5)
    if len(plain):
        label = sample_count(int(np.count_nonzero(~mask)), set_style.name)
        axes.plot(
            *plain.T, set_style.marker, color=set_style.colour, alpha=0.3 + 0.5 * emphasis,
            markersize=2.2 + 2 * emphasis, markeredgewidth=0.6, zorder=2,
            label=label if highlighted is None else f"{label}, {set_style.label}",
        )  # fmt: skip
    emphasis = min(1.0, (100 / max(len(special), 1)) ** 0.5)
    if len(special):
        label = sample_count(int(np.count_nonzero(mask)), set_style.name)
        axes.plot(
            *special.T, set_style.highlighted_marker, color=set_style.highlighted_colour, alpha=0.5 + 0.4 * emphasis,
            markerfacecolor="none", markersize=2.8 + 2.5 * emphasis, markeredgewidth=0.7, zorder=3,
            label=f"{label}, {set_style.highlighted_label}",
        )  # fmt: skip
