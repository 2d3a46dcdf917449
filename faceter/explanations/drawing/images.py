"""Units of image models: each image with the firing mask, and with the mask of the formula."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageFilter

from faceter.explanations.drawing.canvas import (
    CAPTION_HEIGHT,
    FAINT_INK,
    FORMULA_COLOUR,
    FORMULA_LABEL,
    GAP,
    LEGEND_HEIGHT,
    MARGIN,
    ROW_GAP,
    UNIT_COLOUR,
    UNIT_LABEL,
    Canvas,
    Fonts,
    png_file,
    wrap,
)

OUTLINE: Final = 2
"""Width of an outline in pixels; it lies around a region and covers nothing of it."""

_MAX_SIDE = 240
_MIN_SIDE = 16
_MIN_PANEL_WIDTH = 136
_MIN_PAGE_WIDTH = 540
_MAX_ROW_WIDTH = 1130
_PANEL_GAP = 4
_DARKEST = 36


@dataclass(frozen=True)
class ImageSample:
    """An image with its masks."""

    image: Image.Image
    """Of any size and mode."""
    caption: str
    """Such as its name and class."""
    firing_mask: NDArray[np.bool_]
    """[h, w] over the whole image, at any resolution."""
    formula_mask: NDArray[np.bool_]
    """[h, w] over the whole image, at any resolution."""


def draw_unit_on_images(title: str, subtitle: str, samples: Sequence[ImageSample]) -> bytes:
    """Draw each image twice: with the firing mask, and with the mask of the formula.

    Outside of a mask the image is dark and gray; inside it is unchanged and has an outline. Images are at most 240
    pixels wide and high; small ones are enlarged by an integer factor. Masks are resized by nearest neighbour.

    Args:
        title: Such as the formula; wrapped, and cut off if very long.
        subtitle: Such as the unit's name, in smaller letters.
        samples: In the order in which they are drawn, two or three in a row.

    Returns:
        A PNG file; equal samples give equal bytes.

    Raises:
        ValueError: A mask is not [h, w], or empty.
    """
    fonts = Fonts.load()
    pairs = [_panels(sample) for sample in samples]
    panel_width = max([_MIN_PANEL_WIDTH, *(panel.width for pair in pairs for panel in pair)])
    step = 2 * panel_width + _PANEL_GAP + GAP
    columns = min(max(2, min(3, _MAX_ROW_WIDTH // step)), max(len(pairs), 1))
    rows = [range(start, min(start + columns, len(pairs))) for start in range(0, len(pairs), columns)]
    heights = [max(panel.height for index in row for panel in pairs[index]) for row in rows]
    width = max(_MIN_PAGE_WIDTH, 2 * MARGIN + columns * step - GAP)
    height = LEGEND_HEIGHT + sum(heights) + len(rows) * (CAPTION_HEIGHT + ROW_GAP)
    canvas = Canvas.with_heading(fonts, title, subtitle, width, height)
    if not pairs:
        canvas.write((MARGIN, canvas.top), "no sample", FAINT_INK)
    for column in range(columns if pairs else 0):
        left = MARGIN + column * step + OUTLINE
        canvas.legend_entry(left, canvas.top, UNIT_COLOUR, UNIT_LABEL)
        canvas.legend_entry(left + panel_width + _PANEL_GAP, canvas.top, FORMULA_COLOUR, FORMULA_LABEL)
    upper = canvas.top + LEGEND_HEIGHT
    for row, row_height in zip(rows, heights, strict=True):
        for column, index in enumerate(row):
            left = MARGIN + column * step
            for place, panel in enumerate(pairs[index]):
                canvas.image.paste(panel, (left + place * (panel_width + _PANEL_GAP), upper))
            caption = wrap(samples[index].caption, fonts.small, step - GAP - OUTLINE, 1)
            canvas.write((left + OUTLINE, upper + max(panel.height for panel in pairs[index]) + 1), *caption)
        upper += row_height + CAPTION_HEIGHT + ROW_GAP
    return canvas.png()


def draw_unit_on_image(sample: ImageSample) -> bytes:
    """Draw one image twice, as `draw_unit_on_images` does, without any text.

    Returns:
        A PNG file: the firing mask on the left, the mask of the formula on the right.

    Raises:
        ValueError: A mask is not [h, w], or empty.
    """
    left, right = _panels(sample)
    both = Image.new("RGBA", (left.width + _PANEL_GAP + right.width, left.height))
    both.paste(left)
    both.paste(right, (left.width + _PANEL_GAP, 0))
    return png_file(both)


def region_panel(image: Image.Image, mask: NDArray[np.bool_]) -> Image.Image:
    """Return an image in the size of a panel, dark and gray outside of a mask [h, w] with its outline."""
    panel = _masked(resized_to_panel(image), mask, UNIT_COLOUR)
    return panel.crop((OUTLINE, OUTLINE, panel.width - OUTLINE, panel.height - OUTLINE))


def _panels(sample: ImageSample) -> tuple[Image.Image, Image.Image]:
    image = resized_to_panel(sample.image)
    return _masked(image, sample.firing_mask, UNIT_COLOUR), _masked(image, sample.formula_mask, FORMULA_COLOUR)


def resized_to_panel(image: Image.Image) -> Image.Image:
    """Return an image in the size of a panel; very narrow ones are widened."""
    scale = min(_MAX_SIDE / image.width, _MAX_SIDE / image.height)
    scale = math.floor(scale) if scale >= 1 else scale
    width, height = (max(_MIN_SIDE, round(scale * size)) for size in image.size)
    resampling = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS
    return image.convert("RGB").resize((width, height), resampling)


def _masked(image: Image.Image, mask: NDArray[np.bool_], colour: str) -> Image.Image:
    """Return an image, dark and gray outside of a mask, with the mask's outline; larger by `OUTLINE` on all sides."""
    pixels = np.asarray(image)
    inside = _resized_mask(mask, image.height, image.width)
    luma = pixels.astype(np.int64) @ np.array([299, 587, 114])
    dark = (_DARKEST + luma * 2 // 5000).astype(np.uint8)
    panel = np.full((image.height + 2 * OUTLINE, image.width + 2 * OUTLINE, 3), 255, np.uint8)
    panel[OUTLINE:-OUTLINE, OUTLINE:-OUTLINE] = np.where(inside[..., None], pixels, dark[..., None])
    padded = np.pad(inside, OUTLINE)
    dilated = np.asarray(Image.fromarray(padded.astype(np.uint8)).filter(ImageFilter.MaxFilter(2 * OUTLINE + 1)))
    panel[(dilated > 0) & ~padded] = ImageColor.getrgb(colour)
    return Image.fromarray(panel)


def _resized_mask(mask: NDArray[np.bool_], height: int, width: int) -> NDArray[np.bool_]:
    """Return a mask [h, w] at another resolution, by nearest neighbour."""
    if mask.ndim != 2 or not mask.size:
        raise ValueError(f"A mask of an image must be [h, w], not {list(mask.shape)}.")
    rows, columns = (
        (2 * np.arange(size) + 1) * old // (2 * size) for size, old in zip((height, width), mask.shape, strict=True)
    )
    resized: NDArray[np.bool_] = mask[np.ix_(rows, columns)]
    return resized
