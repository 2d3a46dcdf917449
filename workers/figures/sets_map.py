"""A flat map of real and generated samples: their first two principal components."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from workers.figures.figures import (
    GENERATED,
    REAL,
    legend_beside,
    new_figure,
    png,
    samples,
    say_all_empty,
    set_title,
    style,
    title_height,
)

Points = NDArray[np.float64]
Chosen = NDArray[np.bool_]

_MOST = 4000
_NEARLY_ALL = (0.5, 99.5)
_FLATTEST = 0.55
_WIDTH, _LEFT, _PANEL = 8.0, 0.85, 4.7
_LINE = 0.16
_WARNING = "Principal component analysis of the real samples: what is near here need not be near in all dimensions."


@dataclass(frozen=True)
class _Kind:
    """How samples of a set are drawn, and those of it that are marked."""

    name: str
    plain: str
    marked: str
    colour: str
    strong: str
    mark: str
    marked_mark: str


_REAL = _Kind("real", "covered", "uncovered:\nno generated one in the ball", REAL, "#003f66", "o", "s")
_GENERATED = _Kind("generated", "inside", "outside:\nin no real ball", GENERATED, "#8c3d00", "+", "x")


def map_png(
    real: Points,
    generated: Points,
    explained: tuple[float, float],
    outside: Chosen | None = None,
    uncovered: Chosen | None = None,
    title: str | None = None,
) -> bytes:
    """Draw real and generated samples by the first two principal components of the real ones, to one scale.

    Of a set of more than 4,000 that many are drawn, taken at random. The frame holds nearly all samples of both sets;
    how many lie beyond is told.

    Args:
        real: Components of the real samples, float64 [N, 2].
        generated: The same components of the generated ones, float64 [M, 2].
        explained: The shares of the variance of real samples that the two components have, 0 to 1.
        outside: Which generated samples are in no real ball, bool [M].
        uncovered: Which real samples have no generated one in their ball, bool [N].
        title: Set above everything.

    Returns:
        A PNG file, 960 pixels wide.
    """
    with style():
        return png(map_figure(real, generated, explained, outside, uncovered, title))


def map_figure(
    real: Points,
    generated: Points,
    explained: tuple[float, float],
    outside: Chosen | None = None,
    uncovered: Chosen | None = None,
    title: str | None = None,
) -> Figure:
    """Return the figure of `map_png`, to be drawn in the same style."""
    sets = [points for points in (real, generated) if len(points)]
    limits = _limits(sets) if sets else np.array([[0.0, 1.0], [0.0, 1.0]])
    (left, right), (lower, upper) = limits
    told = [_left_out(name, points, limits) for name, points in (("real", real), ("generated", generated))]
    notes = [_WARNING, *(words for words in told if words is not None)]
    bottom, top = 0.75 + _LINE * len(notes), 0.15 + title_height(title, _WIDTH)
    height = bottom + _PANEL * (upper - lower) / (right - left) + top
    # constrained layout cuts labels off where the aspect is given
    figure = new_figure(_WIDTH, height, constrained=False)
    axes = figure.add_axes((_LEFT / _WIDTH, bottom / height, _PANEL / _WIDTH, 1 - (bottom + top) / height))
    axes.set(xlim=(left, right), ylim=(lower, upper), aspect="equal")
    axes.ticklabel_format(scilimits=(-3, 4))
    axes.set_xlabel(_label("first", explained[0]))
    axes.set_ylabel(_label("second", explained[1]))
    if not sets:
        say_all_empty(axes, "there are no samples")
    for kind, points, marked in ((_REAL, real, uncovered), (_GENERATED, generated, outside)):
        _draw(axes, kind, points, marked)
    legend_beside(axes)
    figure.supxlabel("\n".join(notes), x=0.08 / _WIDTH, y=0.08 / height, ha="left", va="bottom", fontsize=8)
    set_title(figure, title)
    return figure


def _label(which: str, share: float) -> str:
    percent = 100 * share
    told = f"{percent:.0f}" if percent >= 1 or percent == 0 else f"{percent:.1g}"
    return f"{which} principal component\n({told} % of the variance of real samples)"


def _limits(sets: list[Points]) -> Points:
    """Return lowest and highest of both components, [2, 2], so that nearly all of each set is within."""
    both = np.concatenate(sets)
    low, high = both.min(axis=0), both.max(axis=0)
    bulks = [np.percentile(points, _NEARLY_ALL, axis=0) for points in sets]
    inner_low = np.min([bulk[0] for bulk in bulks], axis=0)
    inner_high = np.max([bulk[1] for bulk in bulks], axis=0)
    room = 0.5 * (inner_high - inner_low)
    low = np.where(room > 0, np.maximum(low, inner_low - room), low)
    high = np.where(room > 0, np.minimum(high, inner_high + room), high)
    spans = 1.08 * (high - low)
    width = spans.max()
    if width <= 1e-9 * np.abs(both).max():
        width = 0.1 * np.abs(both).max() or 1.0
    spans = np.array([width, max(spans[1], _FLATTEST * width)])
    centre = (low + high) / 2
    return np.stack([centre - spans / 2, centre + spans / 2], axis=1)


def _left_out(name: str, points: Points, limits: Points) -> str | None:
    """Say how many samples are not drawn, and how many lie beyond the limits, if any."""
    shown = len(_some(len(points)))
    beyond = np.count_nonzero(((points < limits[:, 0]) | (points > limits[:, 1])).any(axis=1))
    told = [f"{shown:,} are drawn, taken at random"] if shown < len(points) else []
    told += [f"{beyond:,} lie{'s' if beyond == 1 else ''} beyond the frame"] if beyond else []
    return f"Of {samples(len(points), name)} {', '.join(told)}." if told else None


def _some(count: int) -> NDArray[np.intp]:
    """Return which samples are drawn; at random, for any order of them may mean something."""
    if count <= _MOST:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).permutation(count)[:_MOST])


def _draw(axes: Axes, kind: _Kind, points: Points, marked: Chosen | None) -> None:
    if not len(points):
        axes.plot([], [], linestyle="none", label=f"no {kind.name} samples")
        return
    shown = _some(len(points))
    of_all = np.zeros(len(points), np.bool_) if marked is None else marked
    plain, special = points[shown[~of_all[shown]]], points[shown[of_all[shown]]]
    room = min(1.0, (300 / max(len(plain), 1)) ** 0.5)
    if len(plain):
        words = samples(int(np.count_nonzero(~of_all)), kind.name)
        axes.plot(
            *plain.T, kind.mark, color=kind.colour, alpha=0.3 + 0.5 * room, markersize=2.2 + 2 * room,
            markeredgewidth=0.6, zorder=2, label=words if marked is None else f"{words}, {kind.plain}",
        )  # fmt: skip
    room = min(1.0, (100 / max(len(special), 1)) ** 0.5)
    if len(special):
        words = samples(int(np.count_nonzero(of_all)), kind.name)
        axes.plot(
            *special.T, kind.marked_mark, color=kind.strong, alpha=0.5 + 0.4 * room, markerfacecolor="none",
            markersize=2.8 + 2.5 * room, markeredgewidth=0.7, zorder=3, label=f"{words}, {kind.marked}",
        )  # fmt: skip
