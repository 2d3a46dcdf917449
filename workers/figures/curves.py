"""How tuning went: losses, and agreement and accuracy, against steps."""

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
from workers.figures.figures import (
    COLOURS,
    FAINT,
    legend_beside,
    new_figure,
    plain_numbers,
    png,
    say_empty,
    set_title,
    style,
)

_BANDS = ("#f1f4f8", "#ffffff")
_TINTS = ("#e6eef8", "#fbeee2", "#e5f3ea", "#f6e8f1", "#f4f0dc", "#e9e9e9")
_WIDTH = 8.0
_PANEL_WIDTH = 5.8
_INCHES_PER_LETTER = 0.066
_FEW = 40
_FEW_RUNS = 10


@dataclass(frozen=True)
class _Run:
    """Points one after the other of the same phase."""

    phase: str
    start: int
    points: Sequence[CurvePoint]

    @property
    def end(self) -> int:
        """Its last step."""
        return self.points[-1].step


def curves_png(points: Sequence[CurvePoint], title: str | None = None) -> bytes:
    """Draw losses on a logarithmic axis and, in a second panel where there are any, agreement and accuracy.

    Phases are bands with their names above them, in colours of a legend where there is no room for names; lines end
    with their phase, unless there are very many. A loss that goes below 0 makes the axis logarithmic in both
    directions and linear about 0. Where a loss is no number or infinite, a red line says so.

    Args:
        points: In the order they were measured.
        title: Set above everything.

    Returns:
        A PNG file, 960 pixels wide.
    """
    measured = any(point.agreement is not None or point.accuracy is not None for point in points)
    with style():
        figure = new_figure(_WIDTH, 5.6 if measured else 3.6)
        panels = list(figure.subplots(2 if measured else 1, 1, sharex=True, squeeze=False)[:, 0])
        runs = _runs(points)
        _draw_losses(panels[0], runs)
        if measured:
            _draw_shares(panels[1], runs)
        _mark_phases(figure, panels, runs)
        panels[-1].set_xlabel(_steps_label(points))
        panels[-1].xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
        set_title(figure, title)
        return png(figure)


def _runs(points: Sequence[CurvePoint]) -> list[_Run]:
    runs: list[_Run] = []
    first = 0
    for index, point in enumerate(points):
        if index + 1 == len(points) or points[index + 1].phase != point.phase:
            start = runs[-1].end if runs else min(0, points[0].step)
            runs.append(_Run(point.phase, start, points[first : index + 1]))
            first = index + 1
    return runs


def _draw_losses(axes: Axes, runs: Sequence[_Run]) -> None:
    axes.set_ylabel("loss")
    names = list(dict.fromkeys(name for run in runs for point in run.points for name in point.losses))
    values = [value for run in runs for point in run.points for value in point.losses.values() if math.isfinite(value)]
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
        say_empty(axes, "no losses were measured")
    for index, name in enumerate(names):
        found = [[(point.step, point.losses[name]) for point in run.points if name in point.losses] for run in runs]
        lines = found if len(runs) <= _FEW_RUNS else [list(chain.from_iterable(found))]
        _draw_lines(axes, lines, name, COLOURS[index % len(COLOURS)], markers=False)
    bad = sorted(
        {point.step for run in runs for point in run.points if not all(map(math.isfinite, point.losses.values()))}
    )
    for step in bad:
        axes.axvline(step, color="#c00000", linestyle=":", label="not finite" if step == bad[0] else None)
    legend_beside(axes)


def _draw_shares(axes: Axes, runs: Sequence[_Run]) -> None:
    axes.set_ylabel("share of inputs, %")
    kinds = (
        ("agreement with\nthe original on\nheld-out inputs", "agreement"),
        ("accuracy on\nevaluation data", "accuracy"),
    )
    for index, (label, attribute) in enumerate(kinds):
        found = [(point.step, getattr(point, attribute)) for run in runs for point in run.points]
        told = [(step, 100 * share) for step, share in found if share is not None]
        _draw_lines(axes, [told], label, COLOURS[index], markers=len(told) <= _FEW)
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, -2), min(high, 101))
    legend_beside(axes)


def _draw_lines(
    axes: Axes, lines: Sequence[Sequence[tuple[int, float]]], label: str, colour: str, *, markers: bool
) -> None:
    """Draw lines of one name; one of a single point is a dot."""
    named = False
    for line in lines:
        finite = [(step, value) for step, value in line if math.isfinite(value)]
        if not finite:
            continue
        marker = "o" if markers or len(finite) == 1 else None
        steps, values = zip(*finite, strict=True)
        [drawn] = axes.plot(steps, values, color=colour, marker=marker, markersize=3.5)
        if not named:
            drawn.set_label(label)
        named = True


def _mark_phases(figure: Figure, panels: Sequence[Axes], runs: Sequence[_Run]) -> None:
    """Draw phases as bands: with their names above them where there is room, else in colours of a legend."""
    if not runs:
        return
    left, right = runs[0].start, max(run.end for run in runs)
    span = max(right - left, 1)
    panels[0].set_xlim(left - 0.01 * span, left + 1.01 * span)
    names = list(dict.fromkeys(run.phase for run in runs))
    fits = all((run.end - run.start) / span * _PANEL_WIDTH > _INCHES_PER_LETTER * len(run.phase) for run in runs)
    for index, run in enumerate(runs):
        colour = _BANDS[index % 2] if fits else _TINTS[names.index(run.phase) % len(_TINTS)]
        for axes in panels:
            axes.axvspan(run.start, run.end, color=colour, zorder=0, linewidth=0)
            if fits and index:
                axes.axvline(run.start, color=FAINT, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
        if fits:
            where = panels[0].get_xaxis_transform()
            middle = (run.start + run.end) / 2
            text = panels[0].text(middle, 1.02, run.phase, transform=where, ha="center", fontsize=8, color=FAINT)
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
