"""Training curves of tuning: losses, agreement and accuracy against steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from faceter.contracts.quantizations import CurvePoint
from workers.figures.figure_style import (
    COLOURS,
    FAINT,
    legend_beside,
    new_figure,
    plain_numbers,
    png,
    set_title,
    show_message,
    style,
)

_BANDS = ("#f1f4f8", "#ffffff")
_TINTS = ("#e6eef8", "#fbeee2", "#e5f3ea", "#f6e8f1", "#f4f0dc", "#e9e9e9")
_WIDTH = 8.0
_PANEL_WIDTH = 5.8
_INCHES_PER_LETTER = 0.066
_MAX_MARKERS = 40
_MAX_SEPARATE_LINES = 10


@dataclass(frozen=True)
class _PhaseSegment:
    """Consecutive points of the same phase."""

    phase: str
    start: int
    points: Sequence[CurvePoint]

    @property
    def end(self) -> int:
        """Its last step."""
        return self.points[-1].step


def curves_png(points: Sequence[CurvePoint], title: str | None = None) -> bytes:
    """Draw losses on a logarithmic axis and, in a second panel if there are any, agreement and accuracy.

    Phases are bands with their names above them, or with a legend if the names do not fit. Lines are interrupted
    between phases, unless there are very many. Negative losses make the axis symmetric-logarithmic. A red line marks
    steps where a loss is not finite.

    Args:
        points: In the order of measurement.
        title: Of the figure.

    Returns:
        A PNG file, 960 pixels wide.
    """
    measured = any(point.agreement is not None or point.accuracy is not None for point in points)
    with style():
        figure = new_figure(_WIDTH, 5.6 if measured else 3.6)
        panels = list(figure.subplots(2 if measured else 1, 1, sharex=True, squeeze=False)[:, 0])
        segments = _segments(points)
        _draw_losses(panels[0], segments)
        if measured:
            _draw_agreement(panels[1], segments)
        _mark_phases(figure, panels, segments)
        panels[-1].set_xlabel(_steps_label(points))
        panels[-1].xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
        set_title(figure, title)
        return png(figure)


def _segments(points: Sequence[CurvePoint]) -> list[_PhaseSegment]:
    segments: list[_PhaseSegment] = []
    first = 0
    for index, point in enumerate(points):
        if index + 1 == len(points) or points[index + 1].phase != point.phase:
            start = segments[-1].end if segments else min(0, points[0].step)
            segments.append(_PhaseSegment(point.phase, start, points[first : index + 1]))
            first = index + 1
    return segments


def _draw_losses(axes: Axes, segments: Sequence[_PhaseSegment]) -> None:
    axes.set_ylabel("loss")
    names = list(dict.fromkeys(name for segment in segments for point in segment.points for name in point.losses))
    values = [
        value
        for segment in segments
        for point in segment.points
        for value in point.losses.values()
        if math.isfinite(value)
    ]
    sizes = [abs(value) for value in values if value != 0]
    if min(values, default=0.0) < 0:
        linear = 10.0 ** math.floor(math.log10(max(min(sizes), max(sizes) * 1e-3)))
        axes.set_yscale("symlog", linthresh=linear)
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.axhline(0, color=FAINT, linewidth=0.8)
    elif sizes:
        axes.set_yscale("log", nonpositive="mask")
        plain_numbers(axes)
    else:
        show_message(axes, "no losses were measured")
    for index, name in enumerate(names):
        by_segment = [
            [(point.step, point.losses[name]) for point in segment.points if name in point.losses]
            for segment in segments
        ]
        separate = len(segments) <= _MAX_SEPARATE_LINES
        lines = by_segment if separate else [list(chain.from_iterable(by_segment))]
        _draw_lines(axes, lines, name, COLOURS[index % len(COLOURS)], markers=False)
    not_finite = sorted(
        {
            point.step
            for segment in segments
            for point in segment.points
            if not all(map(math.isfinite, point.losses.values()))
        }
    )
    for step in not_finite:
        axes.axvline(step, color="#c00000", linestyle=":", label="not finite" if step == not_finite[0] else None)
    legend_beside(axes)


def _draw_agreement(axes: Axes, segments: Sequence[_PhaseSegment]) -> None:
    axes.set_ylabel("share of inputs, %")
    kinds = (
        ("agreement with\nthe original on\nheld-out inputs", "agreement"),
        ("accuracy on\nevaluation data", "accuracy"),
    )
    for index, (label, attribute) in enumerate(kinds):
        values = [(point.step, getattr(point, attribute)) for segment in segments for point in segment.points]
        measured = [(step, 100 * value) for step, value in values if value is not None]
        _draw_lines(axes, [measured], label, COLOURS[index], markers=len(measured) <= _MAX_MARKERS)
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, -2), min(high, 101))
    legend_beside(axes)


def _draw_lines(
    axes: Axes, lines: Sequence[Sequence[tuple[int, float]]], label: str, colour: str, *, markers: bool
) -> None:
    """Draw lines with one label; a single point is a dot."""
    labelled = False
    for line in lines:
        finite = [(step, value) for step, value in line if math.isfinite(value)]
        if not finite:
            continue
        marker = "o" if markers or len(finite) == 1 else None
        steps, values = zip(*finite, strict=True)
        [drawn] = axes.plot(steps, values, color=colour, marker=marker, markersize=3.5)
        if not labelled:
            drawn.set_label(label)
        labelled = True


def _mark_phases(figure: Figure, panels: Sequence[Axes], segments: Sequence[_PhaseSegment]) -> None:
    """Draw phases as bands, with their names above them if they fit, else with a legend."""
    if not segments:
        return
    left, right = segments[0].start, max(segment.end for segment in segments)
    span = max(right - left, 1)
    panels[0].set_xlim(left - 0.01 * span, left + 1.01 * span)
    names = list(dict.fromkeys(segment.phase for segment in segments))
    fits = all(
        (segment.end - segment.start) / span * _PANEL_WIDTH > _INCHES_PER_LETTER * len(segment.phase)
        for segment in segments
    )
    for index, segment in enumerate(segments):
        colour = _BANDS[index % 2] if fits else _TINTS[names.index(segment.phase) % len(_TINTS)]
        for axes in panels:
            axes.axvspan(segment.start, segment.end, color=colour, zorder=0, linewidth=0)
            if fits and index:
                axes.axvline(segment.start, color=FAINT, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
        if fits:
            where = panels[0].get_xaxis_transform()
            middle = (segment.start + segment.end) / 2
            text = panels[0].text(middle, 1.02, segment.phase, transform=where, ha="center", fontsize=8, color=FAINT)
            text.set_parse_math(False)
    if not fits:
        patches = [Patch(color=_TINTS[index % len(_TINTS)]) for index in range(len(names))]
        legend = figure.legend(patches, names, loc="outside lower left", ncols=4, title="phases")
        legend.set_alignment("left")
        for text in legend.get_texts():
            text.set_parse_math(False)


def _steps_label(points: Sequence[CurvePoint]) -> str:
    if not points:
        return "steps"
    seconds = points[-1].seconds
    return f"steps ({seconds / 60:.1f} minutes in all)" if seconds >= 60 else f"steps ({seconds:.0f} seconds in all)"
