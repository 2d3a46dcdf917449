"""Contact sheets of a translator in training: real images, as the other domain, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.translators import Direction
from workers.figures.pages import fitted, page

Pixels = NDArray[np.uint8]
"""Images, uint8 [N, 3, H, W], red first."""


class Translate(Protocol):
    """Translates images; the directions it has are its owner's to know."""

    def __call__(self, direction: Direction, images: Pixels, /) -> Pixels:
        """Return translations, uint8 [N, 3, H, W]."""


def sample_sheet(
    images: Mapping[str, Pixels],
    directions: Sequence[Direction],
    translate: Translate,
    title: str,
    wanted: Mapping[Direction, Pixels] | None = None,
) -> bytes:
    """Lay out fixed images, their translations and, where there are both directions, those translated back.

    Args:
        images: The images of each domain, by ``A`` and ``B``.
        directions: Those the translator has.
        translate: The translator as it stands.
        title: Set above everything.
        wanted: What translations should be, for pairs; shown beside them.

    Returns:
        A PNG file.
    """
    tiles, captions = [], []
    for direction in directions:
        real = images[direction.source]
        shown = [real, translate(direction, real)]
        words = f"{direction.source}, as {direction.target}"
        if direction.back in directions:
            shown.append(translate(direction.back, shown[1]))
            words += f", back as {direction.source}"
        elif wanted is not None:
            shown.append(wanted[direction])
            words += f", real {direction.target}"
        for row in zip(*shown, strict=True):
            tiles.append([fitted(image) for image in row])
            captions.append(words)
    return page(tiles, captions, title)
