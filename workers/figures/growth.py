"""How time grows with what there is to do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from workers.figures.figures import COLOURS, FAINT, new_figure, plain_numbers, png, say_all_empty, set_title, style

_COLUMNS = 3
_ROOM = 0.026
_DASHES = (0, (4, 2))


@dataclass(frozen=True)
class Growth:
    """Times of a work of several sizes."""

    name: str
    """What is said above the panel."""
    x_label: str
    """What the size counts."""
    x: Sequence[float]
    """The sizes."""
    seconds: Sequence[float]
    """The time that each took."""


def growth_png(lines: Sequence[Growth], title: str | None = None) -> bytes:
    """Draw times against sizes, a panel for each line, both axes logarithmic and that of times the same for all.

    The dashed line is the power law nearest to the measurements by least squares of logarithms; its exponent is written
    above. A size or time of 0 cannot be drawn and is left out.

    Args:
        lines: In the order in which they are drawn.
        title: Set above everything.

    Returns:
        A PNG file, 960 pixels wide.
    """
    with style():
        return png(growth_figure(lines, title))


def growth_figure(lines: Sequence[Growth], title: str | None = None) -> Figure:
    """Return the figure of `growth_png`, to be drawn in the same style."""
    columns, rows = min(_COLUMNS, max(len(lines), 1)), max(-(-len(lines) // _COLUMNS), 1)
    figure = new_figure(8.0, 0.5 + (3.2 if columns == 1 else 2.5) * rows)
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
    if not lines:
        say_all_empty(panels[0, 0], "nothing was measured")
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


def _draw(axes: Axes, line: Growth) -> None:
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
        words = f"about size to the power of {exponent:.2f}".replace("-", "−")
        axes.text(0, 1.03, words, transform=axes.transAxes, fontsize=8, va="bottom")
    axes.plot(sizes, times, color=COLOURS[0], marker="o", markersize=4, zorder=3)
    axes.set_xlim(sizes[0] / 1.25, sizes[-1] * 1.25)
    axes.xaxis.set_major_locator(FixedLocator(_with_room(sizes)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.tick_params(axis="x", labelsize=8)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.10g}"))


def _positive(line: Growth) -> list[tuple[float, float]]:
    """Return sizes and times that a logarithmic axis can show, by size."""
    pairs = sorted(zip(line.x, line.seconds, strict=True))
    return [(size, time) for size, time in pairs if 0 < size < math.inf and 0 < time < math.inf]


def _power(sizes: Sequence[float], times: Sequence[float]) -> tuple[float | None, float]:
    """Return exponent and factor of the nearest power law, no exponent if all sizes are equal."""
    x, y = np.log(sizes), np.log(times)
    spread = x - x.mean()
    if not (spread @ spread > 1e-12):
        return None, float(np.exp(y.mean()))
    exponent = float(spread @ y / (spread @ spread))
    return exponent, float(np.exp(y.mean() - exponent * x.mean()))


def _with_room(sizes: Sequence[float]) -> list[float]:
    """Return those sizes, in order, whose numbers do not run into each other; the last one is always there."""
    room = _ROOM * math.log(sizes[-1] / sizes[0])
    told = [sizes[-1]]
    for size in reversed(sizes[:-1]):
        letters = len(f"{size:,.10g}") + len(f"{told[-1]:,.10g}")
        if math.log(told[-1] / size) >= room * letters:
            told.append(size)
    return told[::-1]
