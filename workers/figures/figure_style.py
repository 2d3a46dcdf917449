"""The style of all figures, independent of matplotlib's settings on the host, and PNG without date or version."""

from __future__ import annotations

import io
import warnings
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import LogFormatter, NullFormatter, StrMethodFormatter

DOTS_PER_INCH = 120
INK = "#333333"
FAINT = "#8a8a8a"
GRID = "#e4e4e4"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#7a5195", "#555555")
"""Okabe and Ito's colour-blind safe palette, its yellow darkened."""
REAL, GENERATED = COLOURS[:2]
"""Colours of real and generated samples in all figures of an evaluation."""

FONT = "DejaVu Sans"
_TITLE_SIZE = 11
_MAX_TITLE_LINES = 3

_STYLE = {
    "font.family": [FONT],
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.6,
}


@contextmanager
def style() -> Iterator[None]:
    """Run the block in the style of all figures; a figure must be built and saved in it."""
    with matplotlib.style.context(["default", _STYLE]):
        yield


def new_figure(width: float, height: float, *, constrained: bool = True) -> Figure:
    """Return an empty figure, width and height in inches, with constrained layout if ``constrained``."""
    figure = Figure(figsize=(width, height), layout="constrained" if constrained else None, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def png(figure: Figure) -> bytes:
    """Return the figure as a PNG file."""
    buffer = io.BytesIO()
    with _ignore_missing_glyphs():
        figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()


@contextmanager
def _ignore_missing_glyphs() -> Iterator[None]:
    """Run the block without warnings about glyphs that the font lacks; they become boxes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        yield


def set_title(figure: Figure, title: str | None) -> None:
    """Set a title at the top left, in up to 3 lines; it is not parsed as math."""
    if title is not None:
        places = {"x": 0.08 / figure.get_figwidth()}
        if figure.get_layout_engine() is None:
            places["y"] = 1 - 0.08 / figure.get_figheight()
        lines = _title_lines(title, figure.get_figwidth())
        text = figure.suptitle(lines, **places, ha="left", va="top", fontsize=_TITLE_SIZE, fontweight="bold")
        text.set_parse_math(False)


def title_height(title: str | None, width: float) -> float:
    """Return the height of a title, inches, in a figure of a width in inches."""
    return 0.0 if title is None else 0.3 + 0.18 * _title_lines(title, width).count("\n")


def _title_lines(title: str, width: float) -> str:
    return _wrapped(title, width - 0.2, _TITLE_SIZE, _MAX_TITLE_LINES)


def _wrapped(text: str, line_width: float, size: float, max_lines: int) -> str:
    """Return bold text of a font size in points, wrapped to lines of a width in inches, the last one truncated."""
    font = FontProperties(family=[FONT], size=size, weight="bold")
    renderer = RendererAgg(1, 1, DOTS_PER_INCH)  # type: ignore[no-untyped-call]

    def fitting(line: str, end: str = "") -> int:
        """Return how many letters of a line fit before its end."""
        return bisect_right(
            range(1, len(line) + 1), line_width * DOTS_PER_INCH, key=lambda count: width(line[:count] + end)
        )

    def width(line: str) -> float:
        size = renderer.get_text_width_height_descent(line, font, ismath=False)  # type: ignore[no-untyped-call]
        return float(size[0])

    lines: list[str] = []
    rest = " ".join(text.split())
    with _ignore_missing_glyphs():
        while rest and len(lines) < max_lines:
            count = max(fitting(rest), 1)
            if count < len(rest):
                if len(lines) + 1 == max_lines:
                    lines.append(rest[: fitting(rest, "…")].rstrip() + "…")
                    break
                space = rest.rfind(" ", 0, count + 1)
                count = space if space > 0 else count
            lines.append(rest[:count])
            rest = rest[count:].lstrip()
    return "\n".join(lines)


def legend_beside(axes: Axes) -> None:
    """Put a legend at the right of the axes, if anything has a label; labels are not parsed as math."""
    if axes.get_legend_handles_labels()[0]:
        legend = axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), handlelength=1.4)
        for text in legend.get_texts():
            text.set_parse_math(False)


def plain_numbers(axes: Axes) -> None:
    """Format a logarithmic axis as 0.01, 0.1, 1, with minor ticks if it spans less than a factor of 20."""
    low, high = axes.get_ylim()
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    few = high / max(low, 1e-300) < 20
    axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.4)) if few else NullFormatter())


def sample_count(count: int, kind: str) -> str:
    """Return a number of samples as text, such as ``1,500 generated samples``."""
    return f"{count:,} {kind} sample{'' if count == 1 else 's'}"


def show_message(axes: Axes, text: str) -> None:
    """Write a message in the middle of empty axes."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=FAINT)


def show_no_data(axes: Axes, text: str) -> None:
    """Write why there is no data, in axes without ticks."""
    show_message(axes, text)
    axes.set(xticks=[], yticks=[])
