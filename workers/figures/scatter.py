"""Accuracy of a model where a unit fires against the IoU of the unit's formula."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from workers.figures.figure_style import COLOURS, FAINT, new_figure, png, set_title, show_no_data, style

_COLUMNS = 3
_MARGIN = 0.06
_SMALLEST_P = 0.001


@dataclass(frozen=True)
class Panel:
    """Units explained by formulas up to a length."""

    length: int
    """Most concepts of a formula."""
    iou: NDArray[np.float64]
    """[U]: IoU of the unit and its formula."""
    accuracy: NDArray[np.float64]
    """[U]: accuracy on the samples where the unit fires; NaN if it never fires."""
    r: float | None
    """Pearson's correlation of the two; None if it is not defined."""
    p: float | None
    """Its p-value."""


def interpretability_png(panels: Sequence[Panel], title: str | None = None, measure: str = "accuracy") -> bytes:
    """Draw the accuracy where a unit fires against the IoU of its formula, a panel for each length.

    All panels have the same axes and a line fitted by least squares.

    Args:
        panels: In the order in which they are drawn.
        title: Of the figure.
        measure: Name of the accuracy, such as recall.

    Returns:
        A PNG file, 960 pixels wide.
    """
    with style():
        return png(interpretability_figure(panels, title, measure))


def interpretability_figure(panels: Sequence[Panel], title: str | None = None, measure: str = "accuracy") -> Figure:
    """Return the figure of `interpretability_png`, to be saved in the same `style`."""
    columns, rows = min(_COLUMNS, max(len(panels), 1)), max(-(-len(panels) // _COLUMNS), 1)
    figure = new_figure(8.0, 0.7 + (3.2 if columns == 1 else 2.4) * rows)
    axes_grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    if not panels:
        show_no_data(axes_grid[0, 0], "no unit")
    for axes, panel in zip(axes_grid.flat, panels, strict=False):
        _draw(axes, panel)
    for axes in axes_grid.flat[len(panels) :] if panels else ():
        axes.set_axis_off()
    if panels:
        _set_ranges(axes_grid[0, 0], panels)
        for axes in axes_grid[:, 0]:
            axes.set_ylabel(f"{measure} where it fires")
        for axes in axes_grid.flat[max(len(panels) - columns, 0) : len(panels)]:
            axes.set_xlabel("IoU of the formula")
            axes.tick_params(labelbottom=True)
    set_title(figure, title)
    return figure


def _draw(axes: Axes, panel: Panel) -> None:
    axes.set_title("one concept" if panel.length == 1 else f"at most {panel.length} concepts", pad=16)
    axes.text(0, 1.03, _statistics_text(panel), transform=axes.transAxes, fontsize=8, va="bottom")
    iou, accuracy = _finite(panel)
    if not len(iou):
        axes.text(0.5, 0.5, "no unit", transform=axes.transAxes, ha="center", va="center", color=FAINT)
        return
    axes.scatter(iou, accuracy, s=14, color=COLOURS[0], alpha=0.45, linewidth=0, zorder=3)
    centred = iou - iou.mean()
    if (centred != 0).any() and centred @ centred > 0:
        slope = float(centred @ (accuracy - accuracy.mean()) / (centred @ centred))
        ends = np.array([iou.min(), iou.max()])
        axes.plot(ends, accuracy.mean() + slope * (ends - iou.mean()), color=COLOURS[1], zorder=4)


def _finite(panel: Panel) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    finite = np.isfinite(panel.iou) & np.isfinite(panel.accuracy)
    return panel.iou[finite], panel.accuracy[finite]


def _statistics_text(panel: Panel) -> str:
    count = len(_finite(panel)[0])
    units = f"{count:,} unit{'' if count == 1 else 's'}"
    if panel.r is None:
        return f"{units}, r not defined"
    r = f"{units}, r = {panel.r:.2f}".replace("-", "−")
    if panel.p is None:
        return r
    return f"{r}, p < {_SMALLEST_P}" if panel.p < _SMALLEST_P else f"{r}, p = {panel.p:.2g}"


def _set_ranges(axes: Axes, panels: Sequence[Panel]) -> None:
    """Set the common ranges of all panels."""
    iou, accuracy = (np.concatenate(values) for values in zip(*map(_finite, panels), strict=True))
    for values, set_range in ((iou, axes.set_xlim), (accuracy, axes.set_ylim)):
        low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
        margin = _MARGIN * (high - low) or 0.05
        set_range(low - margin, high + margin)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_locator(MaxNLocator(5))
