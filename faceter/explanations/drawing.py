"""Where a unit fires and where its formula holds, drawn beside each other on a page; without what draws figures."""

from __future__ import annotations

import io
import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFont

from faceter.vision.fonts import font_file

UNIT_COLOUR = "#ff9f1a"
"""Of the outline of where a unit fires."""
UNIT_SHADE = "#ffe3b5"
"""Of the moments at which a unit fires."""
FORMULA_COLOUR = "#22b8f0"
"""Of where a formula holds."""
NOT_THE_FORMULA = "#ececec"
"""Of the moments at which it does not."""
OUTLINE = 2
"""Width of an outline in pixels; it lies around a region and hides nothing of it."""
MOST_CHANNELS = 4
"""Most channels of a signal that are drawn."""

_UNIT_WORDS, _FORMULA_WORDS = "the unit fires", "the formula holds"
_INK, _FAINT, _LINE, _FRAME = "#333333", "#7a7a7a", "#1f3b57", "#d8d8d8"

_EDGE = 16
_TITLE_LINES, _SUBTITLE_LINES = 3, 4
_LONGEST = 2000

_WIDEST, _HIGHEST = 240, 240
_DARKEST = 36
_SMALLEST = 16
_NARROWEST_CELL = 136
_NARROWEST_PAGE = 540
_INNER_GAP, _GAP, _ROW_GAP = 4, 24, 14
_HEADING, _CAPTION = 20, 18
_ROOM = 1130
_SWATCH = 10

_SIGNAL_PAGE = 960
_NUMBERS = 58
_PLOT_WIDTH = _SIGNAL_PAGE - 2 * _EDGE - _NUMBERS
_LONE_CHANNEL, _CHANNEL = 92, 56
_STRIP, _STRIP_GAP = 9, 3
_NUMBER = 8
_TIMES = 3
_LINE_WIDTH = 4


@dataclass(frozen=True)
class ImageSample:
    """An image, and what is marked in it."""

    image: Image.Image
    """The image, of any size."""
    caption: str
    """What is said below it, such as its name and class."""
    unit: NDArray[np.bool_]
    """[h, w]: where the unit fires, at any resolution; it lies over the whole image."""
    formula: NDArray[np.bool_]
    """[h, w]: where the formula holds."""


@dataclass(frozen=True)
class SignalSample:
    """A signal, and what is marked in it."""

    signal: NDArray[np.float32]
    """[channels, length]."""
    caption: str
    """What is said above it."""
    unit: NDArray[np.bool_]
    """[length]: when the unit fires."""
    formula: NDArray[np.bool_]
    """[length]: when the formula holds."""


def unit_image(title: str, subtitle: str, samples: Sequence[ImageSample]) -> bytes:
    """Draw each image twice, side by side: as where the unit fires, and as where its formula holds.

    Outside of the region an image is gray and dark; inside it is as it was, and an outline of two pixels lies around
    it. Images are at most 240 pixels wide and high, small ones enlarged by whole pixels. Masks come to their size by
    nearest neighbour.

    Args:
        title: Such as the unit's name and its formula; wrapped, and cut if very long.
        subtitle: Set below it, smaller.
        samples: In the order in which they are shown, two or three in a row.

    Returns:
        A PNG file; equal samples give equal bytes.

    Raises:
        ValueError: A mask is not [h, w], or empty.
    """
    fonts = _Fonts.loaded()
    pairs = [_pair(sample) for sample in samples]
    cell = max([_NARROWEST_CELL, *(one.width for pair in pairs for one in pair)])
    step = 2 * cell + _INNER_GAP + _GAP
    columns = min(max(2, min(3, _ROOM // step)), max(len(pairs), 1))
    rows = [range(start, min(start + columns, len(pairs))) for start in range(0, len(pairs), columns)]
    heights = [max(one.height for index in row for one in pairs[index]) for row in rows]
    width = max(_NARROWEST_PAGE, 2 * _EDGE + columns * step - _GAP)
    page = _Page.headed(fonts, title, subtitle, width, _HEADING + sum(heights) + len(rows) * (_CAPTION + _ROW_GAP))
    if not pairs:
        page.write((_EDGE, page.top), "no sample", _FAINT)
    for column in range(columns if pairs else 0):
        left = _EDGE + column * step
        page.explain(left + OUTLINE, page.top, UNIT_COLOUR, _UNIT_WORDS)
        page.explain(left + OUTLINE + cell + _INNER_GAP, page.top, FORMULA_COLOUR, _FORMULA_WORDS)
    upper = page.top + _HEADING
    for row, height in zip(rows, heights, strict=True):
        for column, index in enumerate(row):
            left = _EDGE + column * step
            for place, one in enumerate(pairs[index]):
                page.sheet.paste(one, (left + place * (cell + _INNER_GAP), upper))
            words = _lines(samples[index].caption, fonts.small, step - _GAP - OUTLINE, 1)
            page.write((left + OUTLINE, upper + max(one.height for one in pairs[index]) + 1), *words)
        upper += height + _CAPTION + _ROW_GAP
    return page.png()


def unit_signals(title: str, subtitle: str, samples: Sequence[SignalSample], formula: str) -> bytes:
    """Draw signals below each other, shaded where the unit fires, each over a strip coloured where the formula holds.

    A channel has the same vertical scale in all samples, whose ends are written beside it. A moment is marked where
    anything of its column of pixels is.

    Args:
        title: Such as the unit's name; wrapped, and cut if very long.
        subtitle: Set below it, smaller.
        samples: In the order in which they are shown; of more than 4 channels the first 4 are drawn, which is said.
        formula: In words, for the legend.

    Returns:
        A PNG file, 960 pixels wide; equal samples give equal bytes.

    Raises:
        ValueError: A signal is not [channels, length], a mask not [length], or either is empty.
    """
    fonts = _Fonts.loaded()
    for sample in samples:
        if sample.signal.ndim != 2 or not sample.signal.size:
            raise ValueError(f"A signal must be [channels, length], not {list(sample.signal.shape)}.")
    ranges = _ranges(samples)
    channel_height = _LONE_CHANNEL if len(ranges) <= 1 else _CHANNEL
    panels = [_panel(sample, ranges, channel_height) for sample in samples]
    most = max((len(sample.signal) for sample in samples), default=0)
    note = [f"Of {most} channels the first {MOST_CHANNELS} are drawn."] if most > MOST_CHANNELS else []
    below = _STRIP_GAP + _STRIP + _ROW_GAP
    room = sum(_CAPTION + panel.height + below for panel in panels)
    page = _Page.headed(fonts, title, subtitle, _SIGNAL_PAGE, _HEADING + len(note) * _HEADING + 6 + room)
    if not samples:
        page.write((_EDGE, page.top), "no sample", _FAINT)
        return page.png()
    right = page.explain(_EDGE, page.top, UNIT_SHADE, _UNIT_WORDS) + _GAP
    words = f"{_FORMULA_WORDS}: {formula}"
    page.explain(right, page.top, FORMULA_COLOUR, *_lines(words, fonts.small, _SIGNAL_PAGE - _EDGE - right - 16, 1))
    upper = page.top + _HEADING + 6
    for line in note:
        page.write((_EDGE, upper - 6), line, _FAINT)
        upper += _HEADING
    for sample, panel in zip(samples, panels, strict=True):
        _draw_signal(page, upper, sample, panel, ranges)
        upper += _CAPTION + panel.height + below
    return page.png()


# What both have in common.


@dataclass(frozen=True)
class _Fonts:
    title: ImageFont.FreeTypeFont
    subtitle: ImageFont.FreeTypeFont
    small: ImageFont.FreeTypeFont
    number: ImageFont.FreeTypeFont

    @classmethod
    def loaded(cls) -> _Fonts:
        plain = font_file()
        title = ImageFont.truetype(font_file(bold=True), 17)
        return cls(title, *(ImageFont.truetype(plain, size) for size in (13, 12, 10)))


@dataclass(frozen=True)
class _Page:
    sheet: Image.Image
    draw: ImageDraw.ImageDraw
    fonts: _Fonts
    top: int
    """Where what is below the subtitle begins."""

    @classmethod
    def headed(cls, fonts: _Fonts, title: str, subtitle: str, width: int, height: int) -> _Page:
        """Return a page with a title, a subtitle and so much room below them."""
        titles = _lines(title, fonts.title, width - 2 * _EDGE, _TITLE_LINES)
        subtitles = _lines(subtitle, fonts.subtitle, width - 2 * _EDGE, _SUBTITLE_LINES)
        steps = [(line, fonts.title, _INK, 23) for line in titles]
        steps += [(line, fonts.subtitle, _FAINT, 18) for line in subtitles]
        top = _EDGE + sum(step for *_, step in steps) + (12 if steps else 0)
        sheet = Image.new("RGB", (width, top + height + _EDGE - _ROW_GAP), "white")
        page = cls(sheet, ImageDraw.Draw(sheet), fonts, top)
        y = _EDGE - 2
        for line, font, colour, step in steps:
            page.draw.text((_EDGE, y), line, fill=colour, font=font)
            y += step
        return page

    def write(self, place: tuple[float, float], words: str = "", colour: str = _INK) -> None:
        """Write a line of small letters, its upper left corner there."""
        self.draw.text(place, words, fill=colour, font=self.fonts.small)

    def explain(self, left: int, upper: int, colour: str, words: str = "") -> int:
        """Draw a patch of a colour and write what it means; return where that ends."""
        self.draw.rectangle((left, upper + 2, left + _SWATCH, upper + 2 + _SWATCH), fill=colour)
        self.write((left + _SWATCH + 6, upper), words)
        return left + _SWATCH + 6 + math.ceil(self.fonts.small.getlength(words))

    def png(self) -> bytes:
        """Return it as a file."""
        buffer = io.BytesIO()
        self.sheet.save(buffer, "PNG", optimize=False)
        return buffer.getvalue()


def _lines(words: str, font: ImageFont.FreeTypeFont, room: float, most: int) -> list[str]:
    """Return words in at most so many lines that fit, the last one cut with an ellipsis if it must be."""
    # half of a surrogate pair, which JSON may hold, cannot be drawn
    rest = " ".join(words.encode(errors="replace").decode().split())
    cut = len(rest) > _LONGEST
    rest = rest[:_LONGEST]

    def fitting(end: str = "") -> int:
        """Return how many letters fit, before what a line may end with."""
        return bisect_right(range(1, len(rest) + 1), room, key=lambda count: font.getlength(rest[:count] + end))

    lines: list[str] = []
    while rest:
        count = max(fitting(), 1)
        last = len(lines) + 1 == most
        if last and (cut or count < len(rest)):
            return [*lines, rest[: fitting("…")].rstrip() + "…"]
        if count < len(rest):
            space = rest.rfind(" ", 0, count + 1)
            count = space if space > 0 else count
        lines.append(rest[:count])
        rest = rest[count:].lstrip()
    return [*lines[:-1], lines[-1] + "…"] if cut else lines


# Images.


def _pair(sample: ImageSample) -> tuple[Image.Image, Image.Image]:
    image = _fitted(sample.image)
    return _marked(image, sample.unit, UNIT_COLOUR), _marked(image, sample.formula, FORMULA_COLOUR)


def _fitted(image: Image.Image) -> Image.Image:
    """Return an image in the size it is drawn in; one that would be but a line is made wider."""
    share = min(_WIDEST / image.width, _HIGHEST / image.height)
    share = math.floor(share) if share >= 1 else share
    width, height = (max(_SMALLEST, round(share * size)) for size in image.size)
    resampling = Image.Resampling.NEAREST if share >= 1 else Image.Resampling.LANCZOS
    return image.convert("RGB").resize((width, height), resampling)


def _marked(image: Image.Image, mask: NDArray[np.bool_], colour: str) -> Image.Image:
    """Return an image dimmed but for a region, which has an outline; wider and higher by the outline's width."""
    pixels = np.asarray(image)
    inside = _scaled(mask, image.height, image.width)
    bright = pixels.astype(np.int64) @ np.array([299, 587, 114])
    dimmed = (_DARKEST + bright * 2 // 5000).astype(np.uint8)
    page = np.full((image.height + 2 * OUTLINE, image.width + 2 * OUTLINE, 3), 255, np.uint8)
    page[OUTLINE:-OUTLINE, OUTLINE:-OUTLINE] = np.where(inside[..., None], pixels, dimmed[..., None])
    window = (2 * OUTLINE + 1, 2 * OUTLINE + 1)
    grown = sliding_window_view(np.pad(inside, 2 * OUTLINE), window).any(axis=(2, 3))
    page[grown & ~np.pad(inside, OUTLINE)] = ImageColor.getrgb(colour)
    return Image.fromarray(page)


def _scaled(mask: NDArray[np.bool_], height: int, width: int) -> NDArray[np.bool_]:
    """Return a mask [h, w] at another resolution, by nearest neighbour."""
    if mask.ndim != 2 or not mask.size:
        raise ValueError(f"A mask of an image must be [h, w], not {list(mask.shape)}.")
    rows, columns = (
        (2 * np.arange(size) + 1) * old // (2 * size) for size, old in zip((height, width), mask.shape, strict=True)
    )
    scaled: NDArray[np.bool_] = mask[np.ix_(rows, columns)]
    return scaled


# Signals.


def _ranges(samples: Sequence[SignalSample]) -> list[tuple[float, float]]:
    """Return the smallest and the largest value of each channel that is drawn, over all samples."""
    ranges = []
    for channel in range(min(MOST_CHANNELS, max((len(sample.signal) for sample in samples), default=0))):
        lines = [sample.signal[channel].astype(np.float64) for sample in samples if channel < len(sample.signal)]
        finite = np.concatenate([line[np.isfinite(line)] for line in lines])
        ranges.append((float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0))
    return ranges


def _panel(sample: SignalSample, ranges: Sequence[tuple[float, float]], channel_height: int) -> Image.Image:
    """Return the lines of a signal, shaded where the unit fires; drawn larger and shrunk, so that they are smooth."""
    drawn = sample.signal[:MOST_CHANNELS].astype(np.float64)
    pixels = np.full((_TIMES * channel_height * len(drawn), _TIMES * _PLOT_WIDTH, 3), 255, np.uint8)
    pixels[:, np.repeat(_columns(sample.unit, _PLOT_WIDTH), _TIMES)] = ImageColor.getrgb(UNIT_SHADE)
    large = Image.fromarray(pixels)
    draw = ImageDraw.Draw(large)
    for channel, (line, (low, high)) in enumerate(zip(drawn, ranges, strict=False)):
        upper = _TIMES * channel_height * channel
        _draw_line(draw, line, low, high, (upper, _TIMES * channel_height, large.width))
    return large.reduce(_TIMES)


def _draw_line(
    draw: ImageDraw.ImageDraw, line: NDArray[np.float64], low: float, high: float, place: tuple[int, int, int]
) -> None:
    """Draw values [length] into a band: its upper edge, height and width; gaps where they are not finite."""
    upper, height, width = place
    x = (np.arange(len(line)) + 0.5) * width / len(line)
    if len(line) > 2 * width:
        starts = np.arange(width) * len(line) // width
        line = np.stack([np.minimum.reduceat(line, starts), np.maximum.reduceat(line, starts)], axis=1).ravel()
        x = np.repeat(np.arange(width) + 0.5, 2)
    shares = (high - line) / (high - low) if high > low else np.where(np.isfinite(line), 0.5, np.nan)
    margin = 0.08 * height
    y = upper + margin + shares * (height - 2 * margin)
    finite = np.isfinite(y)
    for run in np.split(np.arange(len(y)), np.flatnonzero(np.diff(finite)) + 1):
        if not finite[run[0]]:
            continue
        points = [(float(x[index]), float(y[index])) for index in run]
        if len(points) == 1:
            draw.circle(points[0], 1.5 * _LINE_WIDTH, fill=_LINE)
        else:
            draw.line(points, fill=_LINE, width=_LINE_WIDTH, joint="curve")


def _columns(marks: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Return for each of so many columns whether any moment in it is marked."""
    if marks.ndim != 1 or not marks.size:
        raise ValueError(f"A mask of a signal must be [length], not {list(marks.shape)}.")
    found: NDArray[np.bool_] = np.logical_or.reduceat(marks, np.arange(width) * len(marks) // width)
    return found


def _draw_signal(
    page: _Page, upper: int, sample: SignalSample, panel: Image.Image, ranges: Sequence[tuple[float, float]]
) -> None:
    """Draw a sample's row: caption, lines with their numbers, strip."""
    left, right = _EDGE + _NUMBERS, _EDGE + _NUMBERS + _PLOT_WIDTH
    length = sample.signal.shape[1]
    moments = f"moments 0 to {length - 1:,}" if length > 1 else "moment 0"
    page.draw.text((right, upper + 1), moments, fill=_FAINT, font=page.fonts.number, anchor="ra")
    room = _PLOT_WIDTH - page.fonts.number.getlength(moments) - _GAP
    page.write((left, upper), *_lines(sample.caption, page.fonts.small, room, 1))
    upper += _CAPTION
    page.sheet.paste(panel, (left, upper))
    count = min(len(sample.signal), MOST_CHANNELS)
    height = panel.height // count
    for channel, (low, high) in enumerate(ranges[:count]):
        edge = upper + channel * height
        if channel:
            page.draw.line((left, edge, right - 1, edge), fill=_FRAME)
        ends = [(_NUMBER, high), (height - _NUMBER, low)] if high > low else [(height / 2, low)]
        for y, value in ends:
            place = left - 6, edge + y
            page.draw.text(place, f"{value:.3g}".replace("-", "−"), fill=_FAINT, font=page.fonts.number, anchor="rm")
    page.draw.rectangle((left - 1, upper - 1, right, upper + panel.height), outline=_FRAME)
    strip = np.where(
        _columns(sample.formula, _PLOT_WIDTH)[:, None],
        np.array(ImageColor.getrgb(FORMULA_COLOUR), np.uint8),
        np.array(ImageColor.getrgb(NOT_THE_FORMULA), np.uint8),
    )
    page.sheet.paste(Image.fromarray(np.repeat(strip[None], _STRIP, axis=0)), (left, upper + panel.height + _STRIP_GAP))
