"""What all figures share: one style whatever the host's own settings are, and PNG without date or version."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont
from matplotlib.ticker import LogFormatter, NullFormatter, StrMethodFormatter

DOTS_PER_INCH = 120
INK = "#333333"
FAINT = "#8a8a8a"
GRID = "#e4e4e4"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#7a5195", "#555555")
"""Okabe and Ito's palette, its yellow darkened: told apart by the colour-blind, too."""

FONT = "DejaVu Sans"

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
    """Run the block in the style of all figures; a figure is both made and drawn in it."""
    with matplotlib.style.context(["default", _STYLE]):
        yield


def new_figure(width: float, height: float, *, constrained: bool = True) -> Figure:
    """Return an empty figure of some inches, whose parts find their places by themselves if ``constrained``."""
    figure = Figure(figsize=(width, height), layout="constrained" if constrained else None, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def png(figure: Figure) -> bytes:
    """Return the figure as a PNG file."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # names from users may be in scripts the font lacks; those letters become boxes
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()


def set_title(figure: Figure, title: str | None) -> None:
    """Set a title above everything, at the left; a user's words are not taken for formulas."""
    if title is not None:
        places = {"x": 0.08 / figure.get_figwidth()}
        if figure.get_layout_engine() is None:
            places["y"] = 1 - 0.08 / figure.get_figheight()
        text = figure.suptitle(title, **places, ha="left", va="top", fontsize=11, fontweight="bold")
        text.set_parse_math(False)


def plain_numbers(axes: Axes) -> None:
    """Write the numbers of a logarithmic axis as 0.01, 0.1, 1; those between too, where it spans little."""
    low, high = axes.get_ylim()
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    few = high / max(low, 1e-300) < 20
    axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.4)) if few else NullFormatter())


def say_empty(axes: Axes, words: str) -> None:
    """Say in the middle of empty axes why they are empty."""
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", color=FAINT)


def font_file() -> str:
    """Return the path of the figures' font, for what is drawn without matplotlib."""
    return findfont(FontProperties(family=FONT))
