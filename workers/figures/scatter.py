"""Whether a model does well where units fire that formulas describe well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from workers.figures.figures import COLOURS, FAINT, new_figure, png, say_all_empty, set_title, style

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
    """[U]: share of the samples where the unit fires that the model gets right; not a number where it never fires."""
    r: float | None
    """Pearson's correlation of the two; None where it is not defined."""
    p: float | None
    """Its p-value."""


def interpretability_png(panels: Sequence[Panel], title: str | None = None, measure: str = "accuracy") -> bytes:
    """Draw the accuracy where a unit fires against the IoU of its formula, a panel for each length.

    All panels have the same axes; a line of least squares goes through each.

    Args:
        panels: In the order in which they are drawn.
        title: Set above everything.
        measure: What is meant by accuracy, such as recall.

    Returns:
        A PNG file, 960 pixels wide.
    """
    with style():
        return png(interpretability_figure(panels, title, measure))


def interpretability_figure(panels: Sequence[Panel], title: str | None = None, measure: str = "accuracy") -> Figure:
    """Return the figure of `interpretability_png`, to be drawn in the same style."""
    columns, rows = min(_COLUMNS, max(len(panels), 1)), max(-(-len(panels) // _COLUMNS), 1)
    figure = new_figure(8.0, 0.7 + (3.2 if columns == 1 else 2.4) * rows)
    found = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    if not panels:
        say_all_empty(found[0, 0], "no unit")
    for axes, panel in zip(found.flat, panels, strict=False):
        _draw(axes, panel)
    for axes in found.flat[len(panels) :] if panels else ():
        axes.set_axis_off()
    if panels:
        _set_ranges(found[0, 0], panels)
        for axes in found[:, 0]:
            axes.set_ylabel(f"{measure} where it fires")
        for axes in found.flat[max(len(panels) - columns, 0) : len(panels)]:
            axes.set_xlabel("IoU of the formula")
            axes.tick_params(labelbottom=True)
    set_title(figure, title)
    return figure


def _draw(axes: Axes, panel: Panel) -> None:
    axes.set_title("one concept" if panel.length == 1 else f"at most {panel.length} concepts", pad=16)
    axes.text(0, 1.03, _told(panel), transform=axes.transAxes, fontsize=8, va="bottom")
    iou, accuracy = _measured(panel)
    if not len(iou):
        axes.text(0.5, 0.5, "no unit", transform=axes.transAxes, ha="center", va="center", color=FAINT)
        return
    axes.scatter(iou, accuracy, s=14, color=COLOURS[0], alpha=0.45, linewidth=0, zorder=3)
    spread = iou - iou.mean()
    if (spread != 0).any() and spread @ spread > 0:
        slope = float(spread @ (accuracy - accuracy.mean()) / (spread @ spread))
        ends = np.array([iou.min(), iou.max()])
        axes.plot(ends, accuracy.mean() + slope * (ends - iou.mean()), color=COLOURS[1], zorder=4)


def _measured(panel: Panel) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    finite = np.isfinite(panel.iou) & np.isfinite(panel.accuracy)
    return panel.iou[finite], panel.accuracy[finite]


def _told(panel: Panel) -> str:
    count = len(_measured(panel)[0])
    units = f"{count:,} unit{'' if count == 1 else 's'}"
    if panel.r is None:
        return f"{units}, r not defined"
    r = f"{units}, r = {panel.r:.2f}".replace("-", "−")
    if panel.p is None:
        return r
    return f"{r}, p < {_SMALLEST_P}" if panel.p < _SMALLEST_P else f"{r}, p = {panel.p:.2g}"


def _set_ranges(axes: Axes, panels: Sequence[Panel]) -> None:
    """Set the ranges that all panels share, about all there is."""
    iou, accuracy = (np.concatenate(values) for values in zip(*map(_measured, panels), strict=True))
    for values, set_range in ((iou, axes.set_xlim), (accuracy, axes.set_ylim)):
        low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
        margin = _MARGIN * (high - low) or 0.05
        set_range(low - margin, high + margin)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_locator(MaxNLocator(5))
