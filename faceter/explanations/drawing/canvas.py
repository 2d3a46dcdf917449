"""An image with a title, a subtitle and a legend, and text wrapped to fit it."""

from __future__ import annotations

import io
import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from faceter.vision.fonts import font_file

UNIT_COLOUR: Final = "#ff9f1a"
"""Outline of a firing mask."""
FORMULA_COLOUR: Final = "#22b8f0"
"""Outline of a formula's mask."""
INK: Final = "#333333"
FAINT_INK: Final = "#7a7a7a"

UNIT_LABEL: Final = "the unit fires"
FORMULA_LABEL: Final = "the formula holds"

MARGIN: Final = 16
GAP: Final = 24
"""Between columns."""
ROW_GAP: Final = 14
LEGEND_HEIGHT: Final = 20
CAPTION_HEIGHT: Final = 18

_TITLE_LINES, _SUBTITLE_LINES = 3, 4
_TITLE_STEP, _SUBTITLE_STEP = 23, 18
_MAX_CHARACTERS = 2000
_SWATCH = 10


@dataclass(frozen=True)
class Fonts:
    """Sizes of one font."""

    title: ImageFont.FreeTypeFont
    subtitle: ImageFont.FreeTypeFont
    small: ImageFont.FreeTypeFont
    number: ImageFont.FreeTypeFont

    @classmethod
    def load(cls) -> Fonts:
        """Load the fonts."""
        plain = font_file()
        title = ImageFont.truetype(font_file(bold=True), 17)
        return cls(title, *(ImageFont.truetype(plain, size) for size in (13, 12, 10)))


@dataclass(frozen=True)
class Canvas:
    """An image under construction."""

    image: Image.Image
    draw: ImageDraw.ImageDraw
    fonts: Fonts
    top: int
    """First row below the heading."""

    @classmethod
    def with_heading(cls, fonts: Fonts, title: str, subtitle: str, width: int, height: int) -> Canvas:
        """Return a canvas with ``height`` rows below a title and a subtitle, both wrapped and cut off if very long."""
        room = width - 2 * MARGIN
        lines = [(line, fonts.title, INK, _TITLE_STEP) for line in wrap(title, fonts.title, room, _TITLE_LINES)]
        lines += [
            (line, fonts.subtitle, FAINT_INK, _SUBTITLE_STEP)
            for line in wrap(subtitle, fonts.subtitle, room, _SUBTITLE_LINES)
        ]
        top = MARGIN + sum(step for *_, step in lines) + (12 if lines else 0)
        image = Image.new("RGB", (width, top + height + MARGIN - ROW_GAP), "white")
        canvas = cls(image, ImageDraw.Draw(image), fonts, top)
        y = MARGIN - 2
        for line, font, colour, step in lines:
            canvas.draw.text((MARGIN, y), line, fill=colour, font=font)
            y += step
        return canvas

    def write(self, place: tuple[float, float], text: str = "", colour: str = INK) -> None:
        """Write a line of small text with its upper left corner at a place."""
        self.draw.text(place, text, fill=colour, font=self.fonts.small)

    def legend_entry(self, left: int, upper: int, colour: str, label: str = "") -> int:
        """Draw a swatch and its label; return the column where the label ends."""
        self.draw.rectangle((left, upper + 2, left + _SWATCH, upper + 2 + _SWATCH), fill=colour)
        self.write((left + _SWATCH + 6, upper), label)
        return left + _SWATCH + 6 + math.ceil(self.fonts.small.getlength(label))

    def png(self) -> bytes:
        """Return the image as a PNG file."""
        return png_file(self.image)


def png_file(image: Image.Image) -> bytes:
    """Encode an image as a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=False)
    return buffer.getvalue()


def wrap(text: str, font: ImageFont.FreeTypeFont, width: float, max_lines: int) -> list[str]:
    """Break text into at most ``max_lines`` lines of a width in pixels; the rest is replaced by an ellipsis."""
    # half of a surrogate pair, which JSON may contain, cannot be drawn
    rest = " ".join(text.encode(errors="replace").decode().split())
    is_cut = len(rest) > _MAX_CHARACTERS
    rest = rest[:_MAX_CHARACTERS]

    def fitting(end: str = "") -> int:
        """Return how many characters fit before an end of the line."""
        return bisect_right(range(1, len(rest) + 1), width, key=lambda count: font.getlength(rest[:count] + end))

    lines: list[str] = []
    while rest:
        count = max(fitting(), 1)
        is_last = len(lines) + 1 == max_lines
        if is_last and (is_cut or count < len(rest)):
            return [*lines, rest[: fitting("…")].rstrip() + "…"]
        if count < len(rest):
            space = rest.rfind(" ", 0, count + 1)
            count = space if space > 0 else count
        lines.append(rest[:count])
        rest = rest[count:].lstrip()
    return [*lines[:-1], lines[-1] + "…"] if is_cut else lines
