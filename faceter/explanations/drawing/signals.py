"""Units of signal models: signals shaded where the unit fires, over a strip that shows where the formula holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

from faceter.explanations.drawing.canvas import (
    CAPTION_HEIGHT,
    FAINT_INK,
    FORMULA_COLOUR,
    FORMULA_LABEL,
    GAP,
    LEGEND_HEIGHT,
    MARGIN,
    ROW_GAP,
    UNIT_LABEL,
    Canvas,
    Fonts,
    png_file,
    wrap,
)
from faceter.explanations.drawing.signal_lines import MAX_CHANNELS, marked_columns, signal_panel, value_ranges

UNIT_SHADE: Final = "#ffe3b5"
"""Moments at which the unit fires."""
NOT_THE_FORMULA: Final = "#ececec"
"""Moments at which the formula does not hold."""

_FRAME = "#d8d8d8"
_PAGE_WIDTH = 960
_NUMBERS_WIDTH = 58
_PLOT_WIDTH = _PAGE_WIDTH - 2 * MARGIN - _NUMBERS_WIDTH
_SINGLE_CHANNEL_HEIGHT, _CHANNEL_HEIGHT = 92, 56
_STRIP_HEIGHT, _STRIP_GAP = 9, 3
_NUMBER_OFFSET = 8
_LEGEND_GAP = 6


@dataclass(frozen=True)
class SignalSample:
    """A signal with its masks."""

    signal: NDArray[np.float32]
    """[channels, length]."""
    caption: str
    """Written above it."""
    firing_mask: NDArray[np.bool_]
    """[length]."""
    formula_mask: NDArray[np.bool_]
    """[length]."""


def draw_unit_on_signals(title: str, subtitle: str, samples: Sequence[SignalSample], formula: str) -> bytes:
    """Draw signals below each other, shaded where the unit fires, each over a strip coloured where the formula holds.

    A channel has the same vertical scale in all samples. A column of pixels is marked if any of its moments is.

    Args:
        title: Such as the formula; wrapped, and cut off if very long.
        subtitle: Such as the unit's name, in smaller letters.
        samples: In the order in which they are drawn. Of more than `MAX_CHANNELS` channels the first are drawn, and a
            note says so.
        formula: Text for the legend.

    Returns:
        A PNG file, 960 pixels wide; equal samples give equal bytes.

    Raises:
        ValueError: A signal is not [channels, length], a mask not [length], or either is empty.
    """
    fonts = Fonts.load()
    for sample in samples:
        if sample.signal.ndim != 2 or not sample.signal.size:
            raise ValueError(f"A signal must be [channels, length], not {list(sample.signal.shape)}.")
    ranges = value_ranges([sample.signal for sample in samples])
    channel_height = _SINGLE_CHANNEL_HEIGHT if len(ranges) <= 1 else _CHANNEL_HEIGHT
    panels = [
        signal_panel(sample.signal, marked_columns(sample.firing_mask, _PLOT_WIDTH), UNIT_SHADE, ranges, channel_height)
        for sample in samples
    ]
    most = max((len(sample.signal) for sample in samples), default=0)
    notes = [f"Of {most} channels the first {MAX_CHANNELS} are drawn."] if most > MAX_CHANNELS else []
    below_panel = _STRIP_GAP + _STRIP_HEIGHT + ROW_GAP
    height = (1 + len(notes)) * LEGEND_HEIGHT + _LEGEND_GAP
    height += sum(CAPTION_HEIGHT + panel.height + below_panel for panel in panels)
    canvas = Canvas.with_heading(fonts, title, subtitle, _PAGE_WIDTH, height)
    if not samples:
        canvas.write((MARGIN, canvas.top), "no sample", FAINT_INK)
        return canvas.png()
    left = canvas.legend_entry(MARGIN, canvas.top, UNIT_SHADE, UNIT_LABEL) + GAP
    label = wrap(f"{FORMULA_LABEL}: {formula}", fonts.small, _PAGE_WIDTH - MARGIN - left - 16, 1)
    canvas.legend_entry(left, canvas.top, FORMULA_COLOUR, *label)
    upper = canvas.top + LEGEND_HEIGHT + _LEGEND_GAP
    for note in notes:
        canvas.write((MARGIN, upper - _LEGEND_GAP), note, FAINT_INK)
        upper += LEGEND_HEIGHT
    for sample, panel in zip(samples, panels, strict=True):
        _draw_row(canvas, upper, sample, panel, ranges)
        upper += CAPTION_HEIGHT + panel.height + below_panel
    return canvas.png()


def draw_unit_on_signal(sample: SignalSample) -> bytes:
    """Draw one signal over its strip, as `draw_unit_on_signals` does, without any text, on its own scale.

    Returns:
        A PNG file.

    Raises:
        ValueError: The signal is not [channels, length], a mask not [length], or either is empty.
    """
    if sample.signal.ndim != 2 or not sample.signal.size:
        raise ValueError(f"A signal must be [channels, length], not {list(sample.signal.shape)}.")
    ranges = value_ranges([sample.signal])
    shaded = marked_columns(sample.firing_mask, _PLOT_WIDTH)
    panel = signal_panel(sample.signal, shaded, UNIT_SHADE, ranges, _SINGLE_CHANNEL_HEIGHT)
    image = Image.new("RGB", (_PLOT_WIDTH, panel.height + _STRIP_GAP + _STRIP_HEIGHT), "white")
    image.paste(panel)
    image.paste(_strip(sample.formula_mask), (0, panel.height + _STRIP_GAP))
    return png_file(image)


def _draw_row(
    canvas: Canvas, upper: int, sample: SignalSample, panel: Image.Image, ranges: Sequence[tuple[float, float]]
) -> None:
    """Draw a sample: caption, panel with the ends of the vertical scales, strip of the formula."""
    left, right = MARGIN + _NUMBERS_WIDTH, MARGIN + _NUMBERS_WIDTH + _PLOT_WIDTH
    length = sample.signal.shape[1]
    moments = f"moments 0 to {length - 1:,}" if length > 1 else "moment 0"
    canvas.draw.text((right, upper + 1), moments, fill=FAINT_INK, font=canvas.fonts.number, anchor="ra")
    room = _PLOT_WIDTH - canvas.fonts.number.getlength(moments) - GAP
    canvas.write((left, upper), *wrap(sample.caption, canvas.fonts.small, room, 1))
    upper += CAPTION_HEIGHT
    canvas.image.paste(panel, (left, upper))
    count = min(len(sample.signal), MAX_CHANNELS)
    height = panel.height // count
    for channel, (low, high) in enumerate(ranges[:count]):
        edge = upper + channel * height
        if channel:
            canvas.draw.line((left, edge, right - 1, edge), fill=_FRAME)
        ends = [(_NUMBER_OFFSET, high), (height - _NUMBER_OFFSET, low)] if high > low else [(height / 2, low)]
        for y, value in ends:
            number = f"{value:.3g}".replace("-", "−")
            canvas.draw.text((left - 6, edge + y), number, fill=FAINT_INK, font=canvas.fonts.number, anchor="rm")
    canvas.draw.rectangle((left - 1, upper - 1, right, upper + panel.height), outline=_FRAME)
    canvas.image.paste(_strip(sample.formula_mask), (left, upper + panel.height + _STRIP_GAP))


def _strip(mask: NDArray[np.bool_]) -> Image.Image:
    colours = np.array([ImageColor.getrgb(NOT_THE_FORMULA), ImageColor.getrgb(FORMULA_COLOUR)], np.uint8)
    row = colours[marked_columns(mask, _PLOT_WIDTH).astype(np.int64)]
    return Image.fromarray(np.repeat(row[None], _STRIP_HEIGHT, axis=0))
