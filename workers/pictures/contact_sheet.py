"""Contact sheets: many inputs on one page, pictures or signals, with their classes."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from workers.pictures.figures import COLOURS, FAINT, INK, font_file, new_figure, png, set_title, style
from workers.pictures.pixels import Pixels

MOST = 64
_CELL = 112
_GAP = 8
_CAPTION = 16
_TITLE = 30
_FONT_SIZE = 12
_TITLE_SIZE = 16
_PAGE = (255, 255, 255)
_FRAME = (205, 205, 205)
_SHARED_RANGE = (0.5, 99.5)
_MOST_OVERLAID = 3


def picture_sheet(pictures: Pixels, captions: Sequence[str] | None = None, title: str | None = None) -> bytes:
    """Lay out up to 64 pictures in rows; small ones are enlarged by whole pixels, large ones averaged down.

    Args:
        pictures: uint8 [N, 3, H, W], red first, or [N, 1, H, W]; the first 64 are shown.
        captions: One for each, such as its class.
        title: Set above everything.

    Returns:
        A PNG file.

    Raises:
        ValueError: If there are no pictures, or they are of another shape or type.
    """
    if pictures.ndim != 4 or pictures.shape[1] not in (1, 3) or pictures.dtype != np.uint8 or not len(pictures):
        raise ValueError(f"pictures must be uint8 [N, 1 or 3, H, W], not {pictures.dtype} {list(pictures.shape)}")
    images = [_resized(_image(picture)) for picture in pictures[:MOST]]
    width, height = images[0].size
    columns, rows = _grid(len(images))
    step_x, step_y = width + _GAP, height + _GAP + (_CAPTION if captions is not None else 0)
    top = _TITLE + _GAP if title is not None else _GAP
    font, large = (ImageFont.truetype(font_file(), size) for size in (_FONT_SIZE, _TITLE_SIZE))
    needed = 0 if title is None else math.ceil(large.getlength(title)) + 2 * _GAP
    page = Image.new("RGB", (max(_GAP + columns * step_x, needed), top + rows * step_y), _PAGE)
    draw = ImageDraw.Draw(page)
    if title is not None:
        draw.text((_GAP, top / 2), title, fill=INK, font=large, anchor="lm")
    for index, image in enumerate(images):
        left, upper = _GAP + index % columns * step_x, top + index // columns * step_y
        draw.rectangle((left - 1, upper - 1, left + width, upper + height), outline=_FRAME)
        page.paste(image, (left, upper))
        if captions is not None:
            words = _shortened(captions[index], font, width)
            draw.text((left + width / 2, upper + height + 3), words, fill=INK, font=font, anchor="ma")
    return _png(page)


def signal_sheet(
    signals: NDArray[Any],
    captions: Sequence[str] | None = None,
    title: str | None = None,
) -> bytes:
    """Lay out up to 64 signals as small line plots with one vertical scale, that of all but the wildest values.

    Up to three channels are drawn over each other, each in its colour; more are drawn one below the other, without a
    vertical scale.

    Args:
        signals: Float [N, C, L]; the first 64 are shown.
        captions: One for each, such as its class.
        title: Set above everything.

    Returns:
        A PNG file.

    Raises:
        ValueError: If there are no signals, or they are of another shape.
    """
    if signals.ndim != 3 or not signals.size:
        raise ValueError(f"signals must be [N, C, L], not {list(signals.shape)}")
    shown = signals[:MOST].astype(np.float64)
    columns, rows = min(4, len(shown)), -(-len(shown) // 4)
    shifts = _shifts(shown)
    placed = shown if shifts is None else shown + shifts
    low, high = _range(placed)
    with style():
        height = 1.1 if shifts is None else 0.5 + 0.25 * shown.shape[1]
        figure, axes = _panels(rows, columns, height, titled=title is not None)
        for index, panel in enumerate(axes.flat):
            if index >= len(shown):
                panel.set_axis_off()
                continue
            _draw_signal(panel, placed[index])
            if index + columns >= len(shown):
                panel.tick_params(labelbottom=True)
                panel.set_xlabel("sample", fontsize=8, labelpad=1)
            if captions is not None:
                text = panel.set_title(captions[index], fontsize=8, fontweight="normal", pad=2)
                text.set_parse_math(False)
        axes[0, 0].set_ylim(low, high)
        axes[0, 0].set_xlim(0, max(shown.shape[2] - 1, 1))
        axes[0, 0].xaxis.set_major_locator(MaxNLocator(5, integer=True))
        if shifts is not None:
            axes[0, 0].set_yticks([])
        set_title(figure, title)
        return png(figure)


def _panels(rows: int, columns: int, height: float, *, titled: bool) -> tuple[Figure, NDArray[Any]]:
    """Return a figure and its axes [rows, columns]; each place is 2.4 inches wide and ``height`` high."""
    left, right, upper, lower, gap = 0.45, 0.15, 0.6 if titled else 0.3, 0.5, 0.3
    size = left + columns * 2.4 + right, upper + rows * height + lower
    figure = new_figure(*size, constrained=False)
    # finding places for 64 panels by itself takes matplotlib seconds
    spaces = {
        "left": left / size[0],
        "right": 1 - right / size[0],
        "top": 1 - upper / size[1],
        "bottom": lower / size[1],
        "wspace": 0.08,
        "hspace": gap / (height - gap),
    }
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False, gridspec_kw=spaces)
    return figure, axes


def _draw_signal(axes: Axes, signal: NDArray[np.float64]) -> None:
    for index, channel in enumerate(signal):
        axes.plot(channel, color=COLOURS[index % len(COLOURS)], linewidth=0.8)
    axes.tick_params(labelsize=7, length=2)
    axes.spines["left"].set_color(FAINT)


def _shifts(signals: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return what to add to each channel, [C, 1], so that it lies below the one before; None for few channels."""
    channels = signals.shape[1]
    if channels <= _MOST_OVERLAID:
        return None
    low, high = _range(signals)
    return (low - high) * np.arange(channels, dtype=np.float64)[:, None]


def _range(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the range of all finite values but the wildest, with a margin."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return -1.0, 1.0
    low, high = np.percentile(finite, _SHARED_RANGE)
    margin = 0.15 * (high - low) or 1.0
    return float(low - margin), float(high + margin)


def _grid(count: int) -> tuple[int, int]:
    """Return columns and rows: 8 columns for 64, and fewer, still wider than high, for fewer."""
    columns = min(8, max(math.ceil(math.sqrt(count)), min(count, 4)))
    return columns, -(-count // columns)


def _image(picture: Pixels) -> Image.Image:
    return Image.fromarray(picture[0] if len(picture) == 1 else np.ascontiguousarray(picture.transpose(1, 2, 0)))


def _resized(image: Image.Image) -> Image.Image:
    longest = max(image.size)
    if longest > _CELL:
        share = _CELL / longest
        size = max(1, round(image.width * share)), max(1, round(image.height * share))
        return image.resize(size, Image.Resampling.BOX).convert("RGB")
    times = max(_CELL // longest, 1)
    return image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST).convert("RGB")


def _shortened(words: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """Return the words, cut with an ellipsis to what fits."""
    line = " ".join(words.split())
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(line + "…") > width:
        line = line[:-1]
    return line.rstrip() + "…"


def _png(page: Image.Image) -> bytes:
    buffer = io.BytesIO()
    page.save(buffer, "PNG", optimize=False)
    return buffer.getvalue()
