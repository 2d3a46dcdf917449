"""Encodes images in the format that a client accepts."""

import io
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from PIL import Image

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.vision.decoded_image import Pixels

DEFAULT_QUALITY = 90
"""Default quality of JPEG and WebP."""


class ImageFormat(StrEnum):
    """Output formats by media type; the first is the default."""

    PNG = "image/png"
    JPEG = "image/jpeg"
    WEBP = "image/webp"

    @property
    def extension(self) -> str:
        """File name extension, with the dot."""
        return {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp"}[self.value]


_LONGEST_SIDE = {ImageFormat.JPEG: 65_500, ImageFormat.WEBP: 16_383}
"""Longest side that the encoders accept, pixels."""


@dataclass(frozen=True)
class EncodedImage:
    """An encoded image.

    Attributes:
        content: The file.
        warnings: What the format could not represent; short, ASCII only.
    """

    content: bytes
    warnings: tuple[str, ...] = ()


def encode_image(
    colour: Pixels, alpha: Pixels | None, format_: ImageFormat, *, quality: int = DEFAULT_QUALITY
) -> EncodedImage:
    """Encode an image.

    PNG is lossless. JPEG has no alpha: transparency is composited over white.

    Args:
        colour: sRGB, uint8 [H, W, 3].
        alpha: uint8 [H, W], or None.
        format_: The format.
        quality: 1 to 100; for JPEG and WebP.

    Raises:
        FaceterError: `INVALID_REQUEST` if the quality is out of range; `NOT_ACCEPTABLE` if a side is longer than the
            format allows.
    """
    if not 1 <= quality <= 100:
        raise FaceterError(
            ProblemKind.INVALID_REQUEST, f"The quality {quality} is not in the range 1 to 100.", field="quality"
        )
    longest = _LONGEST_SIDE.get(format_)
    if longest is not None and max(colour.shape[:2]) > longest:
        raise FaceterError(
            ProblemKind.NOT_ACCEPTABLE,
            f"The image is {colour.shape[1]} × {colour.shape[0]} pixels and {format_} allows up to {longest:,} a "
            f"side. Request {ImageFormat.PNG}.",
        )
    warnings: tuple[str, ...] = ()
    if alpha is None:
        image = Image.fromarray(colour)
    elif format_ is ImageFormat.JPEG:
        layer = Image.fromarray(colour)
        image = Image.new("RGB", layer.size, "white")
        image.paste(layer, mask=Image.fromarray(alpha))
        warnings = ("transparency composited over white",)
    else:
        image = Image.fromarray(np.dstack([colour, alpha]))
    options: dict[str, Any] = {} if format_ is ImageFormat.PNG else {"quality": quality}
    stream = io.BytesIO()
    image.save(stream, format_.value.removeprefix("image/"), **options)
    return EncodedImage(stream.getvalue(), warnings)
