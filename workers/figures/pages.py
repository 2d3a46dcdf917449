"""Pages of images in rows, each with a caption below it."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from faceter.vision.fonts import font_file
from workers.figures.figure_style import FAINT, INK
from workers.figures.pixels import Pixels

_CELL = 112
_GAP = 8
_INNER_GAP = 2
_CAPTION = 16
_TITLE = 30
_NOTE = 18
_FONT_SIZE = 12
_TITLE_SIZE = 16
_PAGE = (255, 255, 255)
_FRAME = (205, 205, 205)
_MAX_COLUMNS = 8


def page(
    tiles: Sequence[Sequence[Image.Image]],
    captions: Sequence[str] | None = None,
    title: str | None = None,
    note: str | None = None,
) -> bytes:
    """Lay out tiles in rows; a tile is one image or several side by side, each centred in its cell.

    Args:
        tiles: All of equally many images, as `fitted` returns them.
        captions: One for each tile, truncated to its width.
        title: Of the figure.
        note: Below the title, smaller; alone on the page if there are no tiles.

    Returns:
        A PNG file.
    """
    images = [image for tile in tiles for image in tile]
    width = max((image.width for image in images), default=_CELL)
    height = max((image.height for image in images), default=0)
    per_tile = len(tiles[0]) if tiles else 1
    columns, rows = _grid(len(tiles), _MAX_COLUMNS // per_tile)
    tile_width = per_tile * width + (per_tile - 1) * _INNER_GAP
    step_x, step_y = tile_width + per_tile * _GAP, height + _GAP + (_CAPTION if captions is not None else 0)
    font, large = (ImageFont.truetype(font_file(), size) for size in (_FONT_SIZE, _TITLE_SIZE))
    headings = [(text, face) for text, face in ((title, large), (note, font)) if text is not None]
    min_width = max((math.ceil(face.getlength(text)) + 2 * _GAP for text, face in headings), default=0)
    top = _GAP + (_TITLE if title is not None else 0)
    upper_edge = top + (_NOTE if note is not None else 0)
    sheet = Image.new("RGB", (max(_GAP + columns * step_x, min_width), upper_edge + rows * step_y), _PAGE)
    draw = ImageDraw.Draw(sheet)
    if title is not None:
        draw.text((_GAP, top / 2), title, fill=INK, font=large, anchor="lm")
    if note is not None:
        draw.text((_GAP, top - _GAP + _NOTE / 2), note, fill=INK if tiles else FAINT, font=font, anchor="lm")
    for index, tile in enumerate(tiles):
        left, upper = _GAP + index % columns * step_x, upper_edge + index // columns * step_y
        for place, image in enumerate(tile):
            x = left + place * (width + _INNER_GAP) + (width - image.width) // 2
            y = upper + (height - image.height) // 2
            draw.rectangle((x - 1, y - 1, x + image.width, y + image.height), outline=_FRAME)
            sheet.paste(image, (x, y))
        if captions is not None:
            caption = _truncated(captions[index], font, tile_width)
            draw.text((left + tile_width / 2, upper + height + 3), caption, fill=INK, font=font, anchor="ma")
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=False)
    return buffer.getvalue()


def fitted(source: Pixels | Image.Image) -> Image.Image:
    """Return an image scaled to fit a cell: enlarged by whole pixels, or averaged down.

    Args:
        source: uint8 [3, H, W], red first, or [1, H, W]; or a Pillow image of any mode.
    """
    image = (source if isinstance(source, Image.Image) else _image(source)).convert("RGB")
    longest = max(image.size)
    if longest > _CELL:
        factor = _CELL / longest
        size = max(1, round(image.width * factor)), max(1, round(image.height * factor))
        return image.resize(size, Image.Resampling.BOX)
    times = max(_CELL // longest, 1)
    return image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)


def _grid(count: int, max_columns: int) -> tuple[int, int]:
    """Return columns and rows: wider than high, with at most ``max_columns`` columns."""
    columns = min(max_columns, max(math.ceil(math.sqrt(count)), min(count, 4)))
    return max(columns, 1), -(-count // max(columns, 1))


def _image(image: Pixels) -> Image.Image:
    return Image.fromarray(image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0)))


def _truncated(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """Return the text, truncated with an ellipsis to a width in pixels."""
    line = " ".join(text.split())
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(line + "…") > width:
        line = line[:-1]
    return line.rstrip() + "…"
