"""Size against quality: the Pareto frontier of mixed precision, its measured points and the chosen one."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import StrMethodFormatter

from faceter.contracts.quantizations import TradeOff, TradeOffPoint
from workers.figures.figure_style import COLOURS, FAINT, INK, new_figure, plain_numbers, png, set_title, style

_KIB = 1024
_CHOSEN = "#d55e00"
_MEASURE = {
    "accuracy": "accuracy on evaluation data, %",
    "agreement": "agreement with the original, %",
}


def trade_off_png(trade_off: TradeOff, title: str | None = None) -> bytes:
    """Draw quality against bytes, and below it Σ Ω against bytes on a logarithmic axis; the chosen point is marked.

    Predicted quality is always agreement before tuning. Without predictions and measurements there is only the lower
    panel.

    Args:
        trade_off: The frontier and the chosen point.
        title: Of the figure.

    Returns:
        A PNG file, 960 pixels wide.
    """
    points = trade_off.points
    has_quality = any(point.predicted is not None or point.measured is not None for point in points)
    with style():
        figure = new_figure(8.0, 6.0 if has_quality else 3.4)
        heights = [3, 2] if has_quality else [1]
        panels = list(figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0])
        if has_quality:
            _draw_quality(panels[0], trade_off)
        _draw_sensitivity(panels[-1], points, points[trade_off.chosen])
        panels[-1].set_xlabel("weights, packed, KiB")
        panels[-1].xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        for axes in panels:
            axes.axvline(_size(points[trade_off.chosen]), color=_CHOSEN, linewidth=0.9, linestyle=":", zorder=1)
        set_title(figure, title)
        return png(figure)


def _draw_quality(axes: Axes, trade_off: TradeOff) -> None:
    accuracy = trade_off.measure == "accuracy"
    has_predictions = any(point.predicted is not None for point in trade_off.points)
    axes.set_ylabel(
        "accuracy and predicted agreement, %" if has_predictions and accuracy else _MEASURE[trade_off.measure]
    )
    original = 100 * trade_off.original
    axes.axhline(original, color=FAINT, linestyle="--", linewidth=1.0, label=f"the original, {original:.1f} %")
    predicted = [(_size(point), 100 * point.predicted) for point in trade_off.points if point.predicted is not None]
    if predicted:
        sizes, percentages = zip(*predicted, strict=True)
        axes.plot(sizes, percentages, color=COLOURS[0], label="agreement predicted,\nbefore tuning")
    for tuned, label in ((False, "measured after rounding"), (True, "measured after tuning")):
        measured = [
            (_size(point), 100 * point.measured)
            for point in trade_off.points
            if point.measured is not None and point.tuned is tuned
        ]
        if measured:
            sizes, percentages = zip(*measured, strict=True)
            face = COLOURS[2] if tuned else "white"
            axes.plot(sizes, percentages, "o", color=COLOURS[2], markerfacecolor=face, markersize=6, label=label)
    _mark_chosen(axes, trade_off)
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, -2), min(high, 102))
    axes.legend(loc="lower right")


def _mark_chosen(axes: Axes, trade_off: TradeOff) -> None:
    point = trade_off.points[trade_off.chosen]
    quality = point.measured if point.measured is not None else point.predicted
    met = "chosen" if trade_off.met else "chosen, target not met"
    label = f"{met}:\n{_size(point):,.1f} KiB"
    if quality is None:
        return
    label += f", {100 * quality:.1f} %" + ("" if point.measured is not None else " agreement predicted")
    axes.plot(
        [_size(point)], [100 * quality], "*", color=_CHOSEN, markeredgecolor=INK, markeredgewidth=0.6, markersize=15,
        label=label, zorder=5,
    )  # fmt: skip


def _draw_sensitivity(axes: Axes, points: Sequence[TradeOffPoint], chosen: TradeOffPoint) -> None:
    axes.set_ylabel("sensitivity, Σ Ω")
    positive = [point for point in points if point.sensitivity > 0]
    if positive:
        axes.set_yscale("log")
    few = len(points) <= 40
    sizes, sums = [_size(point) for point in positive], [point.sensitivity for point in positive]
    axes.plot(sizes, sums, color=COLOURS[0], marker="o" if few else None, markersize=3.5)
    if chosen.sensitivity > 0:
        axes.plot(
            [_size(chosen)], [chosen.sensitivity], "*", color=_CHOSEN, markeredgecolor=INK, markeredgewidth=0.6,
            markersize=12, zorder=5,
        )  # fmt: skip
    if positive:
        plain_numbers(axes)
    bits = chosen.bits.values()
    if bits:
        mean = sum(bits) / len(bits)
        text = f"chosen: {min(bits)} to {max(bits)} bits a weight tensor, {mean:.1f} on average"
        axes.text(0.99, 0.95, text, transform=axes.transAxes, ha="right", va="top", fontsize=8)


def _size(point: TradeOffPoint) -> float:
    return point.weight_bytes / _KIB
