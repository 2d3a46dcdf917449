"""Looking at PNG files."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]


def opened(png: bytes) -> Pixels:
    """Return the image, uint8 [H, W, 3], of a PNG file that tells nothing but its image."""
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        assert set(image.info) <= {"dpi"}, "no date, no version"
        return np.asarray(image.convert("RGB"))


def where(image: Pixels, colour: str) -> NDArray[np.intp]:
    """Return rows and columns, [N, 2], of the pixels of exactly a colour, such as #0072b2."""
    wanted = [int(colour[index : index + 2], 16) for index in (1, 3, 5)]
    return np.argwhere((image == wanted).all(axis=2))
