"""Pairs of samples side by side, a generated one and its nearest real one, to check for copies by eye."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.figures.figure_style import GENERATED
from workers.figures.pages import fitted, page
from workers.figures.pixels import Pixels
from workers.figures.signal_panels import Lines, signal_panels

MAX_PAIRS = 32
NAMES = ("generated", "nearest real")
_PALE = "#7fb8d8"


def pairs_sheet(
    left: Sequence[Pixels],
    right: Sequence[Pixels],
    captions: Sequence[str] | None = None,
    title: str | None = None,
    names: tuple[str, str] = NAMES,
) -> bytes:
    """Lay out up to 32 pairs of images in rows, the two of a pair side by side.

    Args:
        left: Images of any sizes, each uint8 [3, H, W], red first, or [1, H, W]; the first 32 are shown. If there
            are none, the page has a message instead.
        right: As many.
        captions: One for each pair, such as their distance.
        title: Of the figure.
        names: Of the left and the right images, below the title.

    Returns:
        A PNG file.

    Raises:
        ValueError: If there are not equally many of both, or an image is of another shape or type.
    """
    for image in (*left, *right):
        if image.ndim != 3 or len(image) not in (1, 3) or image.dtype != np.uint8 or not image.size:
            raise ValueError(f"an image must be uint8 [1 or 3, H, W], not {image.dtype} {list(image.shape)}")
    if len(left) != len(right):
        raise ValueError(f"there are {len(left)} images for the left and {len(right)} for the right")
    pairs = list(zip(left, right, strict=True))[:MAX_PAIRS]
    note = f"left: {names[0]}, right: {names[1]}" if pairs else "There are no pairs to show."
    return page([[fitted(image) for image in pair] for pair in pairs], captions, title, note)


def signal_pairs_sheet(
    left: NDArray[Any],
    right: NDArray[Any],
    captions: Sequence[str] | None = None,
    title: str | None = None,
    names: tuple[str, str] = NAMES,
) -> bytes:
    """Draw up to 32 pairs of signals as small line plots, the two of a pair over each other, with a common scale.

    Several channels are drawn one below the other, without a vertical scale.

    Args:
        left: Float [N, C, L]; the first 32 are shown. If there are none, the page has a message instead.
        right: As many.
        captions: One for each pair, such as their distance.
        title: Of the figure.
        names: Of the two signals.

    Returns:
        A PNG file.

    Raises:
        ValueError: If the two do not have the same shape [N, C, L].
    """
    if left.ndim != 3 or left.shape != right.shape:
        raise ValueError(f"signals must be [N, C, L], both alike, not {list(left.shape)} and {list(right.shape)}")
    if not left.size:
        return page([], title=title, note="There are no pairs to show.")
    # the real one wider and below, so that both are visible where they agree
    sets = [
        Lines(right[:MAX_PAIRS].astype(np.float64), [_PALE], width=3.0),
        Lines(left[:MAX_PAIRS].astype(np.float64), [GENERATED]),
    ]
    return signal_panels(sets, captions, title, names[::-1])
