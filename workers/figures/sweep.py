"""How metrics change with k, the neighbour whose distance is the radius of a ball."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from faceter.contracts.evaluations import Metric, SweepPoint
from workers.figures.figures import COLOURS, FAINT, legend_beside, new_figure, png, say_all_empty, set_title, style

_MARKERS = "osd^v<>PXh"
_LARGEST_SHARE = 1.25
_FEW = 20
_ROOM = 0.03
_DASHES = (0, (4, 2))


def sweep_png(points: Sequence[SweepPoint], title: str | None = None) -> bytes:
    """Draw each metric against k; what is expected of one distribution is dashed, in the colour of its metric.

    Metrics that go well above 1, as density may, have a panel of their own above the others. The axis of k is
    logarithmic where it spans a factor of 10.

    Args:
        points: The values at each k, in any order.
        title: Set above everything.

    Returns:
        A PNG file, 960 pixels wide.
    """
    with style():
        return png(sweep_figure(points, title))


def sweep_figure(points: Sequence[SweepPoint], title: str | None = None) -> Figure:
    """Return the figure of `sweep_png`, to be drawn in the same style."""
    ordered = sorted(points, key=lambda point: point.k)
    names = _in_order({name for point in points for name in point.values})
    tall = [name for name in names if max(_all_values(ordered, [name])) > _LARGEST_SHARE]
    groups = [group for group in (tall, [name for name in names if name not in tall]) if group]
    figure = new_figure(8.0, 5.6 if len(groups) == 2 else 3.6)
    panels = list(figure.subplots(max(len(groups), 1), 1, sharex=True, squeeze=False)[:, 0])
    for axes, group in zip(panels, groups, strict=False):
        _draw(axes, ordered, group)
    if groups:
        _mark_ks(panels[-1], [point.k for point in ordered])
    else:
        say_all_empty(panels[0], "no metric that depends on k was measured")
    panels[-1].set_xlabel("k, the neighbour whose distance is the radius")
    set_title(figure, title)
    return figure


def _in_order(names: set[str]) -> list[str]:
    known = [metric.value for metric in Metric if metric.value in names]
    return known + sorted(names - set(known))


def _all_values(points: Sequence[SweepPoint], names: Sequence[str]) -> list[float]:
    return [told[name] for point in points for told in (point.values, point.expected) for name in names if name in told]


def _draw(axes: Axes, points: Sequence[SweepPoint], names: Sequence[str]) -> None:
    for name in names:
        index = _in_order({*Metric, name}).index(name)
        colour = COLOURS[index % len(COLOURS)]
        marker = _MARKERS[index % len(_MARKERS)] if len(points) <= _FEW else None
        expected = [(point.k, point.expected[name]) for point in points if name in point.expected]
        if expected:
            # a dash where there is but one point
            end = None if len(expected) > 1 else "_"
            axes.plot(*zip(*expected, strict=True), color=colour, linestyle=_DASHES, linewidth=1.2, marker=end, ms=14)
        values = [(point.k, point.values[name]) for point in points if name in point.values]
        words = name.replace("_", " ")
        axes.plot(*zip(*values, strict=True), color=colour, marker=marker, markersize=4, label=words)
    handles, _ = axes.get_legend_handles_labels()
    if len(axes.get_lines()) > len(handles):
        words = "expected if both sets\ncame from one distribution"
        axes.add_line(Line2D([], [], color=FAINT, linestyle=_DASHES, linewidth=1.2, label=words))
    _set_range(axes, _all_values(points, names))
    legend_beside(axes)


def _set_range(axes: Axes, values: Sequence[float]) -> None:
    low, high = min(values), max(values)
    margin = 0.08 * max(high - low, 0.1)
    if low > 0 and high > max(50 * low, _LARGEST_SHARE):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.set_ylim(low / 1.5, high * 1.5)
    else:
        axes.set_ylim(low - margin if low > 0.5 * high else min(low, 0) - margin / 2, high + margin)
    axes.set_ylabel("value" if high > _LARGEST_SHARE else "share")


def _mark_ks(axes: Axes, ks: Sequence[int]) -> None:
    """Mark the very k there are, as far as there is room, unless there are many."""
    logarithmic = ks[-1] >= 10 * ks[0]
    if logarithmic:
        axes.set_xscale("log")
    if len(ks) > _FEW:
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if logarithmic else MaxNLocator(integer=True))
    else:
        axes.xaxis.set_major_locator(FixedLocator(_with_room(ks, math.log if logarithmic else float)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    if len(ks) == 1:
        axes.set_xlim(ks[0] - 1, ks[0] + 1)


def _with_room(ks: Sequence[int], place: Callable[[int], float]) -> list[int]:
    room = _ROOM * (place(ks[-1]) - place(ks[0]))
    told = list(ks[:1])
    for k in ks[1:]:
        if place(k) - place(told[-1]) >= room * len(str(k)) / 2:
            told.append(k)
    return told
