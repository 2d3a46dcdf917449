"""Contact sheets: many images or signals on one page, with captions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from workers.figures.figure_style import COLOURS
from workers.figures.pages import fitted, page
from workers.figures.pixels import Pixels
from workers.figures.signal_panels import Lines, signal_panels

MAX_TILES = 64


def image_sheet(images: Pixels, captions: Sequence[str] | None = None, title: str | None = None) -> bytes:
    """Lay out up to 64 images in rows; small ones are enlarged by whole pixels, large ones averaged down.

    Args:
        images: uint8 [N, 3, H, W], red first, or [N, 1, H, W]; the first 64 are shown.
        captions: One for each, such as its class.
        title: Of the figure.

    Returns:
        A PNG file.

    Raises:
        ValueError: If there are no images, or they are of another shape or type.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3) or images.dtype != np.uint8 or not len(images):
        raise ValueError(f"images must be uint8 [N, 1 or 3, H, W], not {images.dtype} {list(images.shape)}")
    return page([[fitted(image)] for image in images[:MAX_TILES]], captions, title)


def mixed_sheet(
    images: Sequence[Image.Image], captions: Sequence[str] | None = None, title: str | None = None
) -> bytes:
    """Lay out up to 64 images of any sizes and modes in rows, each centred in its cell.

    Their proportions are kept, their sizes are not: small ones are enlarged by whole pixels, large ones averaged down.

    Args:
        images: The first 64 are shown; if there are none, the page says so.
        captions: One for each, such as its class.
        title: Of the figure.

    Returns:
        A PNG file.
    """
    tiles = [[fitted(image)] for image in images[:MAX_TILES]]
    return page(tiles, captions, title, None if tiles else "There are no images to show.")


def signal_sheet(
    signals: NDArray[Any],
    captions: Sequence[str] | None = None,
    title: str | None = None,
) -> bytes:
    """Lay out up to 64 signals as small line plots with a common vertical scale that covers all but extreme values.

    Up to three channels are drawn over each other, each in its colour; more are drawn one below the other, without a
    vertical scale.

    Args:
        signals: Float [N, C, L]; the first 64 are shown.
        captions: One for each, such as its class.
        title: Of the figure.

    Returns:
        A PNG file.

    Raises:
        ValueError: If there are no signals, or they are of another shape.
    """
    if signals.ndim != 3 or not signals.size:
        raise ValueError(f"signals must be [N, C, L], not {list(signals.shape)}")
    return signal_panels([Lines(signals[:MAX_TILES].astype(np.float64), COLOURS)], captions, title)
