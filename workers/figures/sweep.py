"""Metrics against k, the neighbour whose distance is the radius of a ball."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from faceter.contracts.evaluations import SweepPoint
from faceter.contracts.metrics import Metric
from workers.figures.figure_style import COLOURS, FAINT, legend_beside, new_figure, png, set_title, show_no_data, style

_MARKERS = "osd^v<>PXh"
_MAX_FRACTION = 1.25
_MAX_MARKERS = 20
_SPACE_PER_DIGIT = 0.03
_DASHES = (0, (4, 2))


def sweep_png(points: Sequence[SweepPoint], title: str | None = None) -> bytes:
    """Draw each metric against k, and its expected value for equal distributions as a dashed line of the same colour.

    Metrics well above 1, such as density, have a separate panel above the others. The axis of k is logarithmic if it
    spans a factor of 10.

    Args:
        points: The values at each k, in any order.
        title: Of the figure.

    Returns:
        A PNG file, 960 pixels wide.
    """
    with style():
        return png(sweep_figure(points, title))


def sweep_figure(points: Sequence[SweepPoint], title: str | None = None) -> Figure:
    """Return the figure of `sweep_png`, to be saved in the same `style`."""
    ordered = sorted(points, key=lambda point: point.k)
    names = _metric_order({name for point in points for name in point.values})
    tall = [name for name in names if max(_all_values(ordered, [name])) > _MAX_FRACTION]
    groups = [group for group in (tall, [name for name in names if name not in tall]) if group]
    figure = new_figure(8.0, 5.6 if len(groups) == 2 else 3.6)
    panels = list(figure.subplots(max(len(groups), 1), 1, sharex=True, squeeze=False)[:, 0])
    for axes, group in zip(panels, groups, strict=False):
        _draw(axes, ordered, group)
    if groups:
        _set_k_ticks(panels[-1], [point.k for point in ordered])
    else:
        show_no_data(panels[0], "no metric depends on k")
    panels[-1].set_xlabel("k, the neighbour whose distance is the radius")
    set_title(figure, title)
    return figure


def _metric_order(names: set[str]) -> list[str]:
    metrics = [metric.value for metric in Metric if metric.value in names]
    return metrics + sorted(names - set(metrics))


def _all_values(points: Sequence[SweepPoint], names: Sequence[str]) -> list[float]:
    return [
        values[name]
        for point in points
        for values in (point.values, point.expected)
        for name in names
        if name in values
    ]


def _draw(axes: Axes, points: Sequence[SweepPoint], names: Sequence[str]) -> None:
    for name in names:
        index = _metric_order({*Metric, name}).index(name)
        colour = COLOURS[index % len(COLOURS)]
        marker = _MARKERS[index % len(_MARKERS)] if len(points) <= _MAX_MARKERS else None
        expected = [(point.k, point.expected[name]) for point in points if name in point.expected]
        if expected:
            # a dash if there is only one point
            end = None if len(expected) > 1 else "_"
            axes.plot(*zip(*expected, strict=True), color=colour, linestyle=_DASHES, linewidth=1.2, marker=end, ms=14)
        values = [(point.k, point.values[name]) for point in points if name in point.values]
        label = name.replace("_", " ")
        axes.plot(*zip(*values, strict=True), color=colour, marker=marker, markersize=4, label=label)
    handles, _ = axes.get_legend_handles_labels()
    if len(axes.get_lines()) > len(handles):
        label = "expected if both sets\ncame from the same distribution"
        axes.add_line(Line2D([], [], color=FAINT, linestyle=_DASHES, linewidth=1.2, label=label))
    _set_range(axes, _all_values(points, names))
    legend_beside(axes)


def _set_range(axes: Axes, values: Sequence[float]) -> None:
    low, high = min(values), max(values)
    margin = 0.08 * max(high - low, 0.1)
    if low > 0 and high > max(50 * low, _MAX_FRACTION):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.set_ylim(low / 1.5, high * 1.5)
    else:
        axes.set_ylim(low - margin if low > 0.5 * high else min(low, 0) - margin / 2, high + margin)
    axes.set_ylabel("value" if high > _MAX_FRACTION else "share")


def _set_k_ticks(axes: Axes, ks: Sequence[int]) -> None:
    """Put ticks at the values of k whose labels do not overlap; at round numbers if there are many."""
    logarithmic = ks[-1] >= 10 * ks[0]
    if logarithmic:
        axes.set_xscale("log")
    if len(ks) > _MAX_MARKERS:
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if logarithmic else MaxNLocator(integer=True))
    else:
        axes.xaxis.set_major_locator(FixedLocator(_readable_ticks(ks, math.log if logarithmic else float)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    if len(ks) == 1:
        axes.set_xlim(ks[0] - 1, ks[0] + 1)


def _readable_ticks(ks: Sequence[int], place: Callable[[int], float]) -> list[int]:
    space = _SPACE_PER_DIGIT * (place(ks[-1]) - place(ks[0]))
    ticks = list(ks[:1])
    for k in ks[1:]:
        if place(k) - place(ticks[-1]) >= space * len(str(k)) / 2:
            ticks.append(k)
    return ticks
