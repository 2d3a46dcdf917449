"""Contact sheets of a translator in training: real images, their translations and reconstructions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.translation_methods import Direction
from workers.figures.pages import fitted, page

Pixels = NDArray[np.uint8]
"""Images, uint8 [N, 3, H, W], RGB."""


class TranslateFunction(Protocol):
    """Translates images in a direction."""

    def __call__(self, direction: Direction, images: Pixels, /) -> Pixels:
        """Return translations, uint8 [N, 3, H, W]."""


def sample_sheet(
    images: Mapping[str, Pixels],
    directions: Sequence[Direction],
    translate: TranslateFunction,
    title: str,
    targets: Mapping[Direction, Pixels] | None = None,
) -> bytes:
    """Draw images, their translations and, if both directions exist, the reconstructions.

    Args:
        images: By domain, ``A`` and ``B``.
        directions: Those of the translator.
        translate: The translator in its current state.
        title: Title of the sheet.
        targets: The real counterparts of the translations, for pairs; drawn next to them.

    Returns:
        A PNG file.
    """
    tiles, captions = [], []
    for direction in directions:
        real = images[direction.source]
        columns = [real, translate(direction, real)]
        caption = f"{direction.source}, as {direction.target}"
        if direction.back in directions:
            columns.append(translate(direction.back, columns[1]))
            caption += f", back as {direction.source}"
        elif targets is not None:
            columns.append(targets[direction])
            caption += f", real {direction.target}"
        for row in zip(*columns, strict=True):
            tiles.append([fitted(image) for image in row])
            captions.append(caption)
    return page(tiles, captions, title)
