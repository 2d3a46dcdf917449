"""Histograms of distances to the nearest real sample, from generated and from other real ones, to detect copies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator
from numpy.typing import NDArray

from workers.figures.figure_style import (
    GENERATED,
    REAL,
    legend_beside,
    new_figure,
    png,
    sample_count,
    set_title,
    show_no_data,
    style,
)

Distances = NDArray[np.float64]

_BULK = (5, 95)
_LOGARITHMIC_FROM = 30.0
_NEARLY_ALL = 99.5
_FEWEST_BINS, _MOST_BINS = 13, 100
_MIN_FRACTION_OF_RANGE = 1e-8


@dataclass(frozen=True)
class _Bins:
    """Edges of the bins of both sets; ``zero`` are those of an extra bin at the left of a logarithmic axis."""

    edges: Distances
    logarithmic: bool = False
    zero: tuple[float, float] | None = None

    @property
    def end(self) -> float:
        """The end of the axis; larger values are not shown."""
        return float(self.edges[-1])

    def percentages(self, distances: Distances) -> tuple[Distances, float]:
        """Return the percentage of distances in each bin, and in the extra one at the left."""
        counts, _ = np.histogram(distances, self.edges)
        below = np.count_nonzero(distances < self.edges[0])
        return 100 * counts / len(distances), 100 * below / len(distances)


def distances_png(generated_to_real: Distances, real_to_real: Distances, title: str | None = None) -> bytes:
    """Draw histograms of the distances to the nearest real sample, each normalized to its own set.

    The axis is logarithmic if the middle 90 % of a set span a factor of 30, with an extra bin for 0 at its left. It
    covers nearly all distances of both sets; the legend counts those beyond.

    Args:
        generated_to_real: Of each generated sample to its nearest real one, float64 [M].
        real_to_real: Of each real sample to the nearest other real one, float64 [N].
        title: Of the figure.

    Returns:
        A PNG file, 960 pixels wide.
    """
    with style():
        return png(distances_figure(generated_to_real, real_to_real, title))


def distances_figure(generated_to_real: Distances, real_to_real: Distances, title: str | None = None) -> Figure:
    """Return the figure of `distances_png`, to be saved in the same `style`."""
    figure = new_figure(8.0, 3.8)
    axes = figure.subplots()
    axes.set_xlabel("distance to the nearest real sample")
    axes.set_ylabel("share of the set, % a bar")
    sets = [distances for distances in (generated_to_real, real_to_real) if len(distances)]
    if sets:
        bins = _bins(sets)
        _draw(axes, real_to_real, bins, REAL, ("real", "the nearest other real one", "duplicates"))
        _draw(axes, generated_to_real, bins, GENERATED, ("generated", "the nearest real one", "copies"))
        _set_ticks(axes, bins)
        _add_legend(axes)
    else:
        show_no_data(axes, "there are no distances")
    set_title(figure, title)
    return figure


def _bins(sets: Sequence[Distances]) -> _Bins:
    positive = [values for values in (distances[distances > 0] for distances in sets) if len(values)]
    if not positive:
        return _Bins(np.linspace(0, 1, _FEWEST_BINS + 1))
    bulks = [np.percentile(distances, _BULK) for distances in positive]
    logarithmic = any(high > _LOGARITHMIC_FROM * low for low, high in bulks)
    largest = max(distances.max() for distances in positive)
    nearly_all = max(np.percentile(distances, _NEARLY_ALL) for distances in sets)
    high = min(largest, nearly_all * (10 if logarithmic else 1.5)) or largest
    if logarithmic:
        low = max(min(distances.min() for distances in positive), high * _MIN_FRACTION_OF_RANGE)
        edges = 10 ** _even([np.log10(distances) for distances in positive], np.log10(low), np.log10(high))
        edges[0], edges[-1] = low, high
        step = edges[1] / edges[0]
        below = any((distances < low).any() for distances in sets)
        return _Bins(edges, logarithmic=True, zero=(low / step**3, low / step**2) if below else None)
    low = min(distances.min() for distances in sets)
    if low < 0.5 * high:
        return _Bins(_even(positive, 0.0, high))
    margin = 0.05 * (high if high - low <= 1e-9 * high else high - low)
    return _Bins(_even(positive, low - margin, high + margin))


def _even(sets: Sequence[Distances], low: float, high: float) -> Distances:
    """Return edges of equal bins for the narrower set, by the Freedman–Diaconis rule."""
    quartiles = [(np.percentile(values, (25, 75)), len(values)) for values in sets]
    widths = [2 * (upper - lower) / count ** (1 / 3) for (lower, upper), count in quartiles if upper > lower]
    count = (high - low) / min(widths) if widths else _FEWEST_BINS
    return np.linspace(low, high, round(min(max(count, _FEWEST_BINS), _MOST_BINS)) + 1)


def _draw(axes: Axes, distances: Distances, bins: _Bins, colour: str, texts: tuple[str, str, str]) -> None:
    kind, target, duplicates = texts
    if not len(distances):
        axes.plot([], [], color=colour, linestyle="none", label=f"no distances of {kind} samples")
        return
    percentages, below = bins.percentages(distances)
    label = f"{sample_count(len(distances), kind)},\neach to {target}:\nmedian {np.median(distances):.3g}"
    zeros = int(np.count_nonzero(distances == 0))
    beyond = int(np.count_nonzero(distances > bins.end))
    label += f"\n{zeros:,} ({_percent(zeros, distances)}) at 0, {duplicates}" if zeros else ""
    if beyond:
        label += f"\n{beyond:,} ({_percent(beyond, distances)}) beyond the axis,\nup to {distances.max():.3g}"
    axes.stairs(percentages, bins.edges, fill=True, color=colour, alpha=0.22, linewidth=0)
    axes.stairs(percentages, bins.edges, color=colour, linewidth=1.3, label=label)
    if bins.zero is not None:
        axes.stairs([below], bins.zero, fill=True, color=colour, alpha=0.22, linewidth=0)
        axes.stairs([below], bins.zero, color=colour, linewidth=1.3)


def _percent(count: int, of: Distances) -> str:
    percentage = 100 * count / len(of)
    return f"{percentage:.0f} %" if percentage >= 10 else f"{percentage:.2g} %"


def _set_ticks(axes: Axes, bins: _Bins) -> None:
    axes.set_ylim(bottom=0)
    if not bins.logarithmic:
        axes.margins(x=0.01)
        return
    axes.set_xscale("log")
    low, high = bins.edges[0], bins.edges[-1]
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    digits = (1, 2, 5) if len(decades) <= 4 else (1,)
    ticks = [digit * 10.0**decade for decade in decades for digit in digits if low <= digit * 10.0**decade <= high]
    labels = [f"{tick:g}" for tick in ticks]
    if bins.zero is not None:
        ticks.insert(0, float(np.sqrt(bins.zero[0] * bins.zero[1])))
        labels.insert(0, "0")
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.set_xticks(ticks, labels)
    axes.xaxis.set_minor_locator(NullLocator())


def _add_legend(axes: Axes) -> None:
    axes.plot([], [], linestyle="none", label="Copies of real samples lie at the left.")
    legend_beside(axes)
