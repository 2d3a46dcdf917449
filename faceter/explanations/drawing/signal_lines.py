"""The channels of a signal as antialiased lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw

MAX_CHANNELS: Final = 4
"""Most channels of a signal that are drawn."""

_LINE = "#1f3b57"
_OVERSAMPLING = 3
_LINE_WIDTH = 4
"""Before reduction by the oversampling."""


def value_ranges(signals: Sequence[NDArray[np.float32]]) -> list[tuple[float, float]]:
    """Return the lowest and the highest finite value of each drawn channel over all signals [channels, length]."""
    ranges = []
    for channel in range(min(MAX_CHANNELS, max((len(signal) for signal in signals), default=0))):
        lines = [signal[channel].astype(np.float64) for signal in signals if channel < len(signal)]
        finite = np.concatenate([line[np.isfinite(line)] for line in lines])
        ranges.append((float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0))
    return ranges


def signal_panel(
    signal: NDArray[np.float32],
    shaded: NDArray[np.bool_],
    shade: str,
    ranges: Sequence[tuple[float, float]],
    channel_height: int,
) -> Image.Image:
    """Return the first channels of a signal, one below the other.

    Args:
        signal: [channels, length].
        shaded: Columns with a background, bool [width].
        shade: Colour of that background.
        ranges: Lowest and highest value of each channel.
        channel_height: In pixels.
    """
    lines = signal[:MAX_CHANNELS].astype(np.float64)
    height, width = _OVERSAMPLING * channel_height, _OVERSAMPLING * len(shaded)
    pixels = np.full((height * len(lines), width, 3), 255, np.uint8)
    pixels[:, np.repeat(shaded, _OVERSAMPLING)] = ImageColor.getrgb(shade)
    large = Image.fromarray(pixels)
    draw = ImageDraw.Draw(large)
    for channel, (line, (low, high)) in enumerate(zip(lines, ranges, strict=False)):
        _draw_line(draw, line, low, high, (height * channel, height, width))
    return large.reduce(_OVERSAMPLING)


def _draw_line(
    draw: ImageDraw.ImageDraw, line: NDArray[np.float64], low: float, high: float, band: tuple[int, int, int]
) -> None:
    """Draw values [length] into a band (upper edge, height, width); values that are not finite are gaps.

    A line with many more values than columns is drawn as its minimum and maximum in each column.
    """
    upper, height, width = band
    x = (np.arange(len(line)) + 0.5) * width / len(line)
    if len(line) > 2 * width:
        starts = np.arange(width) * len(line) // width
        line = np.stack([np.minimum.reduceat(line, starts), np.maximum.reduceat(line, starts)], axis=1).ravel()
        x = np.repeat(np.arange(width) + 0.5, 2)
    depth = (high - line) / (high - low) if high > low else np.where(np.isfinite(line), 0.5, np.nan)
    margin = 0.08 * height
    y = upper + margin + depth * (height - 2 * margin)
    finite = np.isfinite(y)
    for run in np.split(np.arange(len(y)), np.flatnonzero(np.diff(finite)) + 1):
        if not finite[run[0]]:
            continue
        points = [(float(x[index]), float(y[index])) for index in run]
        if len(points) == 1:
            draw.circle(points[0], 1.5 * _LINE_WIDTH, fill=_LINE)
        else:
            draw.line(points, fill=_LINE, width=_LINE_WIDTH, joint="curve")


def marked_columns(mask: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Return whether any moment of each of ``width`` columns is in a mask [length]."""
    if mask.ndim != 1 or not mask.size:
        raise ValueError(f"A mask of a signal must be [length], not {list(mask.shape)}.")
    marked: NDArray[np.bool_] = np.logical_or.reduceat(mask, np.arange(width) * len(mask) // width)
    return marked
