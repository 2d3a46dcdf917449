"""Explanations of layers: IoU of formulas, their ceilings, and the most used concepts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter
from numpy.typing import NDArray

from faceter.contracts.explanations import ConceptUse, LayerSummary
from workers.figures.figure_style import (
    COLOURS,
    FAINT,
    INK,
    new_figure,
    png,
    set_title,
    show_no_data,
    style,
    title_height,
)

MAX_CONCEPTS = 12
"""Most concepts drawn for a layer."""

_BINS = 20
_SINGLE, _FORMULA = "#c9ced3", COLOURS[0]
_WIDTH, _ROW, _ABOVE, _BELOW = 10.0, 2.1, 0.4, 0.6
_LEFT, _RIGHT, _GAP = 0.6, 0.2, 0.68
_PANELS = 2.4, 2.4, 2.35
_LONGEST_NAME, _LONGEST_CATEGORY, _LONGEST_LAYER = 20, 14, 70
_DASHES = (0, (4, 2))


@dataclass(frozen=True)
class LayerUnits:
    """A layer and the scores of its units that have a formula."""

    summary: LayerSummary
    """Summary of the layer."""
    scores: NDArray[np.float64]
    """[U]: IoU of the formulas."""
    concept_scores: NDArray[np.float64]
    """[U]: IoU of the best single concepts."""
    ceilings: NDArray[np.float64]
    """[U]: the highest IoU of any formula."""


def layers_png(layers: Sequence[LayerUnits], title: str | None = None) -> bytes:
    """Draw a row of three panels for each layer.

    From left to right: histograms of the IoU of formulas and of single concepts; the IoU of formulas against their
    ceiling, with the diagonal; the most used concepts.

    Args:
        layers: In the order of their rows.
        title: Of the figure.

    Returns:
        A PNG file, 1200 pixels wide.
    """
    with style():
        return png(layers_figure(layers, title))


def layers_figure(layers: Sequence[LayerUnits], title: str | None = None) -> Figure:
    """Return the figure of `layers_png`, to be saved in the same `style`."""
    rows, top = max(len(layers), 1), 0.1 + title_height(title, _WIDTH)
    height = top + rows * (_ABOVE + _ROW + _BELOW)
    figure = new_figure(_WIDTH, height, constrained=False)
    for row in range(rows):
        upper = top + row * (_ABOVE + _ROW + _BELOW) + _ABOVE
        lefts = _LEFT, _LEFT + _PANELS[0] + _GAP, _WIDTH - _RIGHT - _PANELS[2]
        histogram, scatter, bars = (
            figure.add_axes((left / _WIDTH, 1 - (upper + _ROW) / height, width / _WIDTH, _ROW / height))
            for left, width in zip(lefts, _PANELS, strict=True)
        )
        if not layers:
            for axes in (histogram, scatter, bars):
                show_no_data(axes, "no layer")
            continue
        layer = layers[row]
        heading = f"{_truncated(layer.summary.layer, _LONGEST_LAYER)}:  {_explained_text(layer.summary)}"
        place = (_LEFT - 0.5) / _WIDTH, 1 - (upper - 0.14) / height
        figure.text(*place, heading, fontsize=10, fontweight="bold", va="bottom", parse_math=False)
        _draw_histogram(histogram, layer)
        _draw_ceilings(scatter, layer)
        _draw_concepts(bars, layer.summary.most_used[:MAX_CONCEPTS])
    set_title(figure, title)
    return figure


def _explained_text(summary: LayerSummary) -> str:
    return f"{summary.explained:,} of {summary.units:,} unit{'' if summary.units == 1 else 's'} explained"


def _truncated(name: str, max_length: int) -> str:
    line = " ".join(name.split())
    return line if len(line) <= max_length else line[: max_length - 1].rstrip() + "…"


def _draw_histogram(axes: Axes, layer: LayerUnits) -> None:
    axes.set(xlabel="IoU", ylabel="units")
    if not len(layer.scores):
        show_no_data(axes, "no unit has a formula")
        return
    edges = np.linspace(0.0, _highest(layer.scores, layer.concept_scores), _BINS + 1)
    for values, name, colour, alpha in (
        (layer.concept_scores, "single concepts", _SINGLE, 1.0),
        (layer.scores, "formulas", _FORMULA, 0.3),
    ):
        counts, _ = np.histogram(values, edges)
        label = f"{name}, {values.mean():.3f} on average"
        axes.stairs(counts, edges, fill=True, color=colour, alpha=alpha, label=label, linewidth=0)
    counts, _ = np.histogram(layer.scores, edges)
    axes.stairs(counts, edges, color=_FORMULA, linewidth=1.3)
    axes.set_xlim(0, edges[-1])
    axes.set_ylim(0, 1.3 * max(axes.dataLim.y1, 1))
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.legend(loc="upper right", borderaxespad=0.1, handlelength=1.2, fontsize=7.5)


def _draw_ceilings(axes: Axes, layer: LayerUnits) -> None:
    axes.set(xlabel="ceiling, the highest possible IoU", ylabel="IoU of the formula")
    if not len(layer.scores):
        show_no_data(axes, "no unit has a formula")
        return
    high = _highest(layer.scores, layer.ceilings)
    axes.axline((0.0, 0.0), slope=1.0, color=FAINT, linestyle=_DASHES, linewidth=1.0)
    axes.scatter(layer.ceilings, layer.scores, s=13, color=_FORMULA, alpha=0.45, linewidth=0, zorder=3)
    axes.set(xlim=(0, high), ylim=(0, high))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5))
    text = f"dashed: at its ceiling\n{layer.summary.at_ceiling:,} of {len(layer.scores):,} are"
    axes.text(0.03, 0.97, text, transform=axes.transAxes, va="top", fontsize=7.5)


def _draw_concepts(axes: Axes, uses: Sequence[ConceptUse]) -> None:
    axes.set_xlabel("formulas with the concept")
    axes.grid(visible=False)
    if not uses:
        show_no_data(axes, "no formula")
        return
    categories = list(dict.fromkeys(use.category for use in uses))
    for index, category in enumerate(categories):
        rows = [row for row, use in enumerate(uses) if use.category == category]
        counts = [uses[row].units for row in rows]
        label = _truncated(category, _LONGEST_CATEGORY).lstrip("_") or "?"
        axes.barh(rows, counts, height=0.72, color=COLOURS[index % len(COLOURS)], alpha=0.75, label=label)
    names = [_truncated(use.concept, _LONGEST_NAME) for use in uses]
    axes.set_yticks(range(len(uses)), names, parse_math=False, fontsize=8)
    for row, use in enumerate(uses):
        axes.annotate(
            f"{use.units:,}", (use.units, row), (3, 0), textcoords="offset points", va="center", fontsize=7, color=INK
        )
    # the same height of bars for one concept as for twelve
    axes.set_ylim(max(len(uses), 6) - 0.4, -0.6)
    axes.set_xlim(0, 1.15 * max(use.units for use in uses))
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    if len(categories) > 1:
        legend = axes.legend(loc="lower right", fontsize=7.5, handlelength=0.9, borderaxespad=0.1)
        for text in legend.get_texts():
            text.set_parse_math(False)


def _highest(*values: NDArray[np.float64]) -> float:
    """Return the end of an axis from 0: slightly above the largest value, at most 1.02."""
    return min(1.06 * max(float(scores.max()) for scores in values), 1.02) or 1.0
