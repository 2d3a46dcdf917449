"""Losses of a translator's training, against steps."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from faceter.contracts.translator_records import LossPoint
from workers.figures.figure_style import (
    COLOURS,
    legend_beside,
    new_figure,
    plain_numbers,
    png,
    set_title,
    show_message,
    style,
)

_WIDTH, _HEIGHT = 8.0, 5.6


def loss_curves_png(points: Sequence[LossPoint], title: str | None = None) -> bytes:
    """Draw the losses of generators in one panel and those of discriminators in another.

    Args:
        points: In the order of measurement.
        title: Of the figure.

    Returns:
        A PNG file.
    """
    names = list(dict.fromkeys(name for point in points for name in point.losses))
    discriminators = [name for name in names if name.startswith("D_")]
    panels = [[name for name in names if name not in discriminators], discriminators]
    with style():
        figure = new_figure(_WIDTH, _HEIGHT)
        for axes, shown, label in zip(
            figure.subplots(2, 1, sharex=True), panels, ("loss, generators", "loss, discriminators"), strict=True
        ):
            _draw(axes, points, shown)
            axes.set_ylabel(label)
        axes.set_xlabel("steps")
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        set_title(figure, title)
        return png(figure)


def _draw(axes: Axes, points: Sequence[LossPoint], names: Sequence[str]) -> None:
    drawn = 0
    for number, name in enumerate(names):
        finite = [
            (point.step, point.losses[name])
            for point in points
            if name in point.losses and math.isfinite(point.losses[name])
        ]
        if finite:
            steps, values = zip(*finite, strict=True)
            axes.plot(
                steps,
                values,
                color=COLOURS[number % len(COLOURS)],
                label=name,
                marker="." if len(finite) == 1 else None,
            )
            drawn += 1
    if not drawn:
        show_message(axes, "No losses yet.")
        return
    axes.set_ylim(bottom=0)
    plain_numbers(axes)
    legend_beside(axes)
