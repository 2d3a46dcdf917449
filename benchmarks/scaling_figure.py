"""Time against problem size, with fitted power laws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from workers.figures.figure_style import COLOURS, FAINT, new_figure, plain_numbers, png, set_title, show_no_data, style

_COLUMNS = 3
_SPACE_PER_DIGIT = 0.026
_DASHES = (0, (4, 2))


@dataclass(frozen=True)
class ScalingCurve:
    """Times at several problem sizes."""

    name: str
    """Title of the panel."""
    x_label: str
    """Label of the sizes."""
    x: Sequence[float]
    """The sizes."""
    seconds: Sequence[float]
    """The time at each size."""


def scaling_png(lines: Sequence[ScalingCurve], title: str | None = None) -> bytes:
    """Draw times against sizes on logarithmic axes, a panel for each curve, with a common axis of times.

    The dashed line is the power law fitted by least squares of logarithms; its exponent is written above. A size or
    time of 0 is left out.

    Args:
        lines: In the order of their panels.
        title: Of the figure.

    Returns:
        A PNG file, 960 pixels wide.
    """
    with style():
        return png(scaling_figure(lines, title))


def scaling_figure(lines: Sequence[ScalingCurve], title: str | None = None) -> Figure:
    """Return the figure of `scaling_png`, to be saved in the same `style`."""
    columns, rows = min(_COLUMNS, max(len(lines), 1)), max(-(-len(lines) // _COLUMNS), 1)
    figure = new_figure(8.0, 0.5 + (3.2 if columns == 1 else 2.5) * rows)
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
    if not lines:
        show_no_data(panels[0, 0], "nothing was measured")
    drawn = [time for line in lines for _, time in _positive(line)]
    if drawn:
        panels[0, 0].set_yscale("log")
        panels[0, 0].set_ylim(min(drawn) / 1.5, max(drawn) * 1.5)
        plain_numbers(panels[0, 0])
    for axes, line in zip(panels.flat, lines, strict=False):
        _draw(axes, line)
    for axes in panels.flat[len(lines) :] if lines else ():
        axes.set_axis_off()
    if lines:
        for axes in panels[:, 0]:
            axes.set_ylabel("seconds")
    set_title(figure, title)
    return figure


def _draw(axes: Axes, line: ScalingCurve) -> None:
    axes.set_title(line.name, pad=16).set_parse_math(False)
    axes.set_xlabel(line.x_label).set_parse_math(False)
    points = _positive(line)
    if not points:
        axes.text(0.5, 0.5, "nothing was measured", transform=axes.transAxes, ha="center", va="center", color=FAINT)
        axes.xaxis.set_major_locator(NullLocator())
        return
    sizes, times = zip(*points, strict=True)
    axes.set_xscale("log")
    exponent, factor = _power(sizes, times)
    if exponent is not None:
        ends = np.array([sizes[0], sizes[-1]])
        axes.plot(ends, factor * ends**exponent, color=FAINT, linestyle=_DASHES, linewidth=1.0)
        text = f"about size to the power of {exponent:.2f}".replace("-", "−")
        axes.text(0, 1.03, text, transform=axes.transAxes, fontsize=8, va="bottom")
    axes.plot(sizes, times, color=COLOURS[0], marker="o", markersize=4, zorder=3)
    axes.set_xlim(sizes[0] / 1.25, sizes[-1] * 1.25)
    axes.xaxis.set_major_locator(FixedLocator(_readable_ticks(sizes)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.tick_params(axis="x", labelsize=8)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.10g}"))


def _positive(line: ScalingCurve) -> list[tuple[float, float]]:
    """Return positive finite sizes and times, sorted by size."""
    pairs = sorted(zip(line.x, line.seconds, strict=True))
    return [(size, time) for size, time in pairs if 0 < size < math.inf and 0 < time < math.inf]


def _power(sizes: Sequence[float], times: Sequence[float]) -> tuple[float | None, float]:
    """Return exponent and factor of the fitted power law; no exponent if all sizes are equal."""
    x, y = np.log(sizes), np.log(times)
    centred = x - x.mean()
    if not (centred @ centred > 1e-12):
        return None, float(np.exp(y.mean()))
    exponent = float(centred @ y / (centred @ centred))
    return exponent, float(np.exp(y.mean() - exponent * x.mean()))


def _readable_ticks(sizes: Sequence[float]) -> list[float]:
    """Return the sizes whose tick labels do not overlap, in order; the last one is always included."""
    space = _SPACE_PER_DIGIT * math.log(sizes[-1] / sizes[0])
    ticks = [sizes[-1]]
    for size in reversed(sizes[:-1]):
        letters = len(f"{size:,.10g}") + len(f"{ticks[-1]:,.10g}")
        if math.log(ticks[-1] / size) >= space * letters:
            ticks.append(size)
    return ticks[::-1]
