"""Signals as small line plots in rows with a common vertical scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from workers.figures.figure_style import FAINT, new_figure, png, set_title, style, title_height

Signals = NDArray[np.float64]


@dataclass(frozen=True)
class Lines:
    """Signals [N, C, L] and the colours of their channels, repeated if there are fewer colours."""

    signals: Signals
    colours: Sequence[str]
    width: float = 0.8


_SHARED_RANGE = (0.5, 99.5)
_MOST_OVERLAID = 3
_COLUMNS = 4
_PANEL_WIDTH = 2.4
_LEGEND_HEIGHT = 0.25


def signal_panels(
    sets: Sequence[Lines],
    captions: Sequence[str] | None = None,
    title: str | None = None,
    names: Sequence[str] | None = None,
) -> bytes:
    """Draw the n-th signals of all sets over each other in the n-th panel.

    More than three lines in a panel are drawn one below the other by channel, without a vertical scale.

    Args:
        sets: Signals of one shape; the first set is drawn first, below the others.
        captions: One for each panel.
        title: Of the figure.
        names: One for each set, for the legend, which shows its first colour.

    Returns:
        A PNG file.
    """
    count, channels, length = sets[0].signals.shape
    columns, rows = min(_COLUMNS, count), -(-count // _COLUMNS)
    together = np.concatenate([lines.signals for lines in sets])
    offsets = _offsets(together, overlaid=channels * len(sets) <= _MOST_OVERLAID)
    with style():
        height = 1.1 if offsets is None else 0.5 + 0.25 * channels
        figure, axes = _panels(rows, columns, height, title, legend=names is not None)
        for index, panel in enumerate(axes.flat):
            if index >= count:
                panel.set_axis_off()
                continue
            for lines in sets:
                _draw_signal(panel, lines, index, offsets)
            if index + columns >= count:
                panel.tick_params(labelbottom=True)
                panel.set_xlabel("sample", fontsize=8, labelpad=1)
            if captions is not None:
                text = panel.set_title(captions[index], fontsize=8, fontweight="normal", pad=2)
                text.set_parse_math(False)
        axes[0, 0].set_ylim(*_range(together if offsets is None else together + offsets))
        axes[0, 0].set_xlim(0, max(length - 1, 1))
        axes[0, 0].xaxis.set_major_locator(MaxNLocator(5, integer=True))
        if offsets is not None:
            axes[0, 0].set_yticks([])
        if names is not None:
            _add_legend(figure, sets, names, title)
        set_title(figure, title)
        return png(figure)


def _panels(rows: int, columns: int, height: float, title: str | None, *, legend: bool) -> tuple[Figure, NDArray[Any]]:
    """Return a figure and its axes [rows, columns]; each panel is 2.4 inches wide and ``height`` high."""
    left, right, lower, gap = 0.45, 0.15, 0.5, 0.3
    width = left + columns * _PANEL_WIDTH + right
    upper = 0.3 + title_height(title, width) + (_LEGEND_HEIGHT if legend else 0)
    size = width, upper + rows * height + lower
    figure = new_figure(*size, constrained=False)
    # constrained layout of 64 panels takes matplotlib seconds
    spaces = {
        "left": left / size[0],
        "right": 1 - right / size[0],
        "top": 1 - upper / size[1],
        "bottom": lower / size[1],
        "wspace": 0.08,
        "hspace": gap / (height - gap),
    }
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False, gridspec_kw=spaces)
    return figure, axes


def _add_legend(figure: Figure, sets: Sequence[Lines], names: Sequence[str], title: str | None) -> None:
    drawn = zip(sets, names, strict=True)
    handles = [Line2D([], [], color=lines.colours[0], linewidth=lines.width, label=name) for lines, name in drawn]
    width, height = figure.get_size_inches()
    place = 0.03 / width, 1 - (0.03 + title_height(title, width)) / height
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=place, ncols=len(handles), borderaxespad=0)


def _draw_signal(axes: Axes, lines: Lines, index: int, offsets: Signals | None) -> None:
    signal = lines.signals[index] if offsets is None else lines.signals[index] + offsets
    for place, channel in enumerate(signal):
        axes.plot(channel, color=lines.colours[place % len(lines.colours)], linewidth=lines.width)
    axes.tick_params(labelsize=7, length=2)
    axes.spines["left"].set_color(FAINT)


def _offsets(signals: Signals, *, overlaid: bool) -> Signals | None:
    """Return the offset of each channel, [C, 1], to draw it below the previous one; None if they are overlaid."""
    if overlaid:
        return None
    low, high = _range(signals)
    return (low - high) * np.arange(signals.shape[1], dtype=np.float64)[:, None]


def _range(values: Signals) -> tuple[float, float]:
    """Return the range of the finite values without extremes, with a margin."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return -1.0, 1.0
    low, high = np.percentile(finite, _SHARED_RANGE)
    margin = 0.15 * (high - low) or 1.0
    return float(low - margin), float(high + margin)
