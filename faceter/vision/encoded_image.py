"""Writes images to files, in the format a client asks for."""

import io
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from PIL import Image

from faceter.contracts.accept import accepted
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.vision.decoded_image import Pixels

DEFAULT_QUALITY = 90
"""Quality of JPEG and WebP where none is asked for."""


class ImageFormat(StrEnum):
    """Formats that images are written in, by their media types; the first is the default."""

    PNG = "image/png"
    JPEG = "image/jpeg"
    WEBP = "image/webp"

    @property
    def extension(self) -> str:
        """How the name of such a file ends, with the dot."""
        return {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp"}[self.value]


_LONGEST_SIDE = {ImageFormat.JPEG: 65_500, ImageFormat.WEBP: 16_383}
"""Most pixels a side that the encoders take."""


@dataclass(frozen=True)
class EncodedImage:
    """An encoded image.

    Attributes:
        content: The file.
        notes: What the format could not keep, a few words each, ASCII only.
    """

    content: bytes
    notes: tuple[str, ...] = ()


def negotiated_format(accept: str) -> ImageFormat:
    """Return the format that an `Accept` header asks for most.

    Of formats asked for alike, one that is named goes before those a wildcard allows, and then PNG, JPEG, WebP in this
    order; an empty header, ``image/*`` and ``*/*`` therefore give PNG.

    Args:
        accept: The header.

    Raises:
        FaceterError: `NOT_ACCEPTABLE` if it allows none of the three.
    """
    asked = {item: accepted(accept, item.value) for item in ImageFormat}
    best = max(asked, key=lambda item: asked[item])
    if asked[best][0] <= 0:
        raise FaceterError(
            ProblemKind.NOT_ACCEPTABLE,
            f"The Accept header {accept!r} allows none of the formats an image is answered in: "
            f"{', '.join(ImageFormat)}. Ask for one of them.",
        )
    return best


def encode_image(
    colour: Pixels, alpha: Pixels | None, format_: ImageFormat, *, quality: int = DEFAULT_QUALITY
) -> EncodedImage:
    """Encode an image.

    PNG is without loss. JPEG has no alpha: what is transparent is laid over white.

    Args:
        colour: sRGB, uint8 [H, W, 3].
        alpha: uint8 [H, W], or None.
        format_: What to write.
        quality: 1 to 100, of JPEG and WebP.

    Raises:
        FaceterError: `INVALID_REQUEST` if the quality is out of range; `NOT_ACCEPTABLE` if a side is longer than the
            format can hold.
    """
    if not 1 <= quality <= 100:
        raise FaceterError(
            ProblemKind.INVALID_REQUEST, f"The quality {quality} is not one from 1 to 100.", field="quality"
        )
    longest = _LONGEST_SIDE.get(format_)
    if longest is not None and max(colour.shape[:2]) > longest:
        raise FaceterError(
            ProblemKind.NOT_ACCEPTABLE,
            f"The image is {colour.shape[1]} × {colour.shape[0]} pixels and {format_} holds up to {longest:,} a "
            f"side. Ask for {ImageFormat.PNG}.",
        )
    notes: tuple[str, ...] = ()
    if alpha is None:
        image = Image.fromarray(colour)
    elif format_ is ImageFormat.JPEG:
        layer = Image.fromarray(colour)
        image = Image.new("RGB", layer.size, "white")
        image.paste(layer, mask=Image.fromarray(alpha))
        notes = ("transparency laid over white",)
    else:
        image = Image.fromarray(np.dstack([colour, alpha]))
    options: dict[str, Any] = {} if format_ is ImageFormat.PNG else {"quality": quality}
    stream = io.BytesIO()
    image.save(stream, format_.value.removeprefix("image/"), **options)
    return EncodedImage(stream.getvalue(), notes)
