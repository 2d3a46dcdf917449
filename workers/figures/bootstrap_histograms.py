"""Histograms of the bootstrap replicates of metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, ScalarFormatter
from numpy.typing import NDArray

from workers.figures.figure_style import COLOURS, INK, new_figure, png, set_title, show_no_data, style

_COLUMNS = 3
_INTERVAL = (2.5, 97.5)
_FEWEST_BINS, _MOST_BINS = 8, 40
_BAR, _SHADE, _EXPECTED = "#9db8cc", "#dfe8ef", COLOURS[1]
_MAX_SPANS = 3.0
"""An expected value farther from the histogram than so many of its widths becomes an arrow."""
_ARROW_SPACE = 0.35
_DASHES = (0, (4, 2))


def bootstrap_png(
    values: Mapping[str, NDArray[np.float64]],
    points: Mapping[str, float],
    expected: Mapping[str, float],
    title: str | None = None,
) -> bytes:
    """Draw a histogram of the bootstrap replicates of each metric, each on its own axis.

    Args:
        values: By metric, bootstrap replicates, float64 [B].
        points: By metric, the value of the samples themselves.
        expected: For some metrics, the expected value if both sets came from the same distribution. If it is so far
            off that the histogram would shrink to a line, an arrow points to it.
        title: Of the figure.

    Returns:
        A PNG file, 960 pixels wide.
    """
    with style():
        return png(bootstrap_figure(values, points, expected, title))


def bootstrap_figure(
    values: Mapping[str, NDArray[np.float64]],
    points: Mapping[str, float],
    expected: Mapping[str, float],
    title: str | None = None,
) -> Figure:
    """Return the figure of `bootstrap_png`, to be saved in the same `style`."""
    drawn = {name: replicates for name, replicates in values.items() if len(replicates)}
    columns, rows = min(_COLUMNS, max(len(drawn), 1)), max(-(-len(drawn) // _COLUMNS), 1)
    figure = new_figure(8.0, 1.9 * rows + 0.9)
    panels = figure.subplots(rows, columns, squeeze=False)
    if not drawn:
        show_no_data(panels[0, 0], "no bootstrap replicates")
    for axes, (name, replicates) in zip(panels.flat, drawn.items(), strict=False):
        _draw(axes, name, replicates, points[name], expected.get(name))
    for axes in panels.flat[len(drawn) :] if drawn else ():
        axes.set_axis_off()
    if drawn:
        for axes in panels[:, 0]:
            axes.set_ylabel("share of replicates, %")
        _add_legend(figure, any(name in expected for name in drawn))
    set_title(figure, title)
    return figure


def _draw(axes: Axes, name: str, replicates: NDArray[np.float64], point: float, expected: float | None) -> None:
    low, high = (float(end) for end in np.percentile(replicates, _INTERVAL))
    counts, edges = np.histogram(replicates, _edges(replicates))
    axes.stairs(100 * counts / len(replicates), edges, fill=True, color=_BAR, zorder=2)
    axes.axvspan(low, high, color=_SHADE, linewidth=0, zorder=1)
    axes.axvline(point, color=INK, zorder=4)
    first, last = min(edges[0], point), max(edges[-1], point)
    span = last - first
    if expected is not None and first - _MAX_SPANS * span <= expected <= last + _MAX_SPANS * span:
        axes.axvline(expected, color=_EXPECTED, linestyle=_DASHES, zorder=3)
        first, last = min(first, expected), max(last, expected)
    elif expected is not None:
        _point_to(axes, expected, right=expected > last)
        first, last = (first, last + _ARROW_SPACE * span) if expected > last else (first - _ARROW_SPACE * span, last)
    margin = 0.05 * (last - first)
    axes.set_xlim(first - margin, last + margin)
    axes.set_ylim(bottom=0)
    axes.set_title(name.replace("_", " "), pad=15)
    value, lower, upper = (_number(number, high - low) for number in (point, low, high))
    text = f"{value},  95 %: {lower} to {upper}"
    axes.text(0, 1.03, text, transform=axes.transAxes, fontsize=8, va="bottom")
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.xaxis.set_major_formatter(ScalarFormatter(useOffset=False))


def _number(value: float, width: float) -> str:
    """Return a value with enough digits to distinguish the ends of an interval of some width."""
    decimals = 1 - math.floor(math.log10(width)) if width > 0 else -1
    return f"{value:.{decimals}f}" if 0 <= decimals <= 8 else f"{value:.4g}"


def _edges(replicates: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = replicates.min(), replicates.max()
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        half = 0.05 * abs(low) or 0.05
        return np.linspace(low - half, high + half, _FEWEST_BINS + 2)
    count = round(min(max(len(replicates) ** 0.5, _FEWEST_BINS), _MOST_BINS))
    return np.linspace(low, high, count + 1)


def _point_to(axes: Axes, expected: float, *, right: bool) -> None:
    text = "expected\n" + (f"{expected:.4g} →" if right else f"← {expected:.4g}")
    axes.text(
        0.985 if right else 0.015, 0.95, text, transform=axes.transAxes, color=_EXPECTED, fontsize=8,
        ha="right" if right else "left", va="top", zorder=5,
    )  # fmt: skip


def _add_legend(figure: Figure, expected: bool) -> None:
    handles = [
        Line2D([], [], color=INK, label="value of the samples"),
        Patch(color=_BAR, label="bootstrap replicates"),
        Patch(color=_SHADE, label="95 % confidence interval"),
    ]
    if expected:
        label = "expected if both sets came from the same distribution"
        handles.append(Line2D([], [], color=_EXPECTED, linestyle=_DASHES, label=label))
    figure.legend(handles=handles, loc="outside lower left", ncols=2)
