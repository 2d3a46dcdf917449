"""Pages of images in rows, each with a caption below it."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from faceter.vision.fonts import font_file
from workers.figures.figures import FAINT, INK
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
_WIDEST = 8


def page(
    tiles: Sequence[Sequence[Image.Image]],
    captions: Sequence[str] | None = None,
    title: str | None = None,
    note: str | None = None,
) -> bytes:
    """Lay out tiles in rows; a tile is one image or several side by side, each in the middle of its cell.

    Args:
        tiles: All of equally many images, as `fitted` returns them.
        captions: One for each tile; what does not fit is cut off.
        title: Set above everything.
        note: Set below the title, smaller; alone on the page where there are no tiles.

    Returns:
        A PNG file.
    """
    images = [image for tile in tiles for image in tile]
    width = max((image.width for image in images), default=_CELL)
    height = max((image.height for image in images), default=0)
    abreast = len(tiles[0]) if tiles else 1
    columns, rows = _grid(len(tiles), _WIDEST // abreast)
    tile_width = abreast * width + (abreast - 1) * _INNER_GAP
    step_x, step_y = tile_width + abreast * _GAP, height + _GAP + (_CAPTION if captions is not None else 0)
    font, large = (ImageFont.truetype(font_file(), size) for size in (_FONT_SIZE, _TITLE_SIZE))
    told = [(words, size) for words, size in ((title, large), (note, font)) if words is not None]
    needed = max((math.ceil(size.getlength(words)) + 2 * _GAP for words, size in told), default=0)
    top = _GAP + (_TITLE if title is not None else 0)
    upper_edge = top + (_NOTE if note is not None else 0)
    sheet = Image.new("RGB", (max(_GAP + columns * step_x, needed), upper_edge + rows * step_y), _PAGE)
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
            words = _shortened(captions[index], font, tile_width)
            draw.text((left + tile_width / 2, upper + height + 3), words, fill=INK, font=font, anchor="ma")
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=False)
    return buffer.getvalue()


def fitted(source: Pixels | Image.Image) -> Image.Image:
    """Return an image in the size of a cell: enlarged by whole pixels, or averaged down.

    Args:
        source: uint8 [3, H, W], red first, or [1, H, W]; or an image of Pillow, of any mode.
    """
    image = (source if isinstance(source, Image.Image) else _image(source)).convert("RGB")
    longest = max(image.size)
    if longest > _CELL:
        share = _CELL / longest
        size = max(1, round(image.width * share)), max(1, round(image.height * share))
        return image.resize(size, Image.Resampling.BOX)
    times = max(_CELL // longest, 1)
    return image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)


def _grid(count: int, widest: int) -> tuple[int, int]:
    """Return columns and rows: the widest for many, and fewer columns, still wider than high, for fewer."""
    columns = min(widest, max(math.ceil(math.sqrt(count)), min(count, 4)))
    return max(columns, 1), -(-count // max(columns, 1))


def _image(image: Pixels) -> Image.Image:
    return Image.fromarray(image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0)))


def _shortened(words: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """Return the words, cut with an ellipsis to what fits."""
    line = " ".join(words.split())
    if font.getlength(line) <= width:
        return line
    while line and font.getlength(line + "…") > width:
        line = line[:-1]
    return line.rstrip() + "…"
