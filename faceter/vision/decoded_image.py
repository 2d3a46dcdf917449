"""Images whose colour and alpha are kept apart, as what changes the one and keeps the other wants them."""

from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from faceter.vision.colour_profile import to_srgb
from faceter.vision.images import SIXTEEN_BIT_MODES, eight_bits, opening, upright

Pixels = NDArray[np.uint8]
"""Values 0 to 255 of 8 bits each."""


@dataclass(frozen=True, eq=False)
class DecodedImage:
    """An image in 8 bits, upright.

    Attributes:
        colour: sRGB, uint8 [H, W, 3], also where alpha is 0.
        alpha: uint8 [H, W], 255 where it is opaque; None for an image without transparency.
        notes: What was done to the file to get there, a few words each, ASCII only.
    """

    colour: Pixels
    alpha: Pixels | None = None
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.colour.shape[0], self.colour.shape[1]


def decode_image(source: BinaryIO | bytes, *, max_pixels: int, name: str) -> DecodedImage:
    """Open an image file as 8-bit sRGB and alpha, upright.

    As `faceter.vision.images.open_image`, save that transparency is kept apart and an embedded colour profile is
    applied, that of a CMYK image too; a profile that is broken or of another kind of image is passed over. What
    was done is in the notes.

    Args:
        source: The file, or its bytes. JPEG, PNG, WebP, GIF, BMP or TIFF; told by its content, not by its name.
        max_pixels: Most pixels (width times height) it may have; checked before it is decoded.
        name: What to call it in an error.

    Raises:
        FaceterError: ``INVALID_IMAGE`` if it is empty, broken, cut off or of another format; ``IMAGE_TOO_LARGE``.
    """
    with opening(source, max_pixels=max_pixels, name=name) as image:
        notes = [*_frames(image), *_bits(image)]
        image.load()
        profile = image.info.get("icc_profile")
        turned = upright(image)
        alpha = _alpha(turned)
        opaque = _opaque(eight_bits(turned, name))
        colour, words = to_srgb(opaque, profile if isinstance(profile, bytes) else None)
        return DecodedImage(np.asarray(colour), alpha, (*notes, *words))


def _frames(image: ImageFile.ImageFile) -> list[str]:
    """Say that a file has several frames; before it is decoded, since counting them moves through the file."""
    count = getattr(image, "n_frames", 1)
    return [f"first of {count} frames"] if count > 1 else []


def _bits(image: ImageFile.ImageFile) -> list[str]:
    """Say that a file has 16 bits; before it is decoded, since Pillow then forgets of colours what they had."""
    raw: Any = image.tile[0].args if image.tile else ""
    raw = raw[0] if isinstance(raw, tuple) and raw else raw
    wide = image.mode in SIXTEEN_BIT_MODES or (isinstance(raw, str) and ";16" in raw)
    return ["16 bits reduced to 8"] if wide else []


def _alpha(image: Image.Image) -> Pixels | None:
    if image.mode in SIXTEEN_BIT_MODES:
        clear = image.info.get("transparency")
        return None if clear is None else np.where(np.asarray(image) == clear, 0, 255).astype(np.uint8)
    return np.asarray(image.convert("RGBA").getchannel("A")) if image.has_transparency_data else None


def _opaque(image: Image.Image) -> Image.Image:
    """Return the colours alone, in a mode that a colour profile may be for: L, RGB, CMYK or another that is stored."""
    if image.mode in ("1", "LA", "La") or (image.mode == "L" and "transparency" in image.info):
        plain = image.convert("LA").getchannel("L")
    elif image.has_transparency_data or image.mode in ("P", "PA", "RGBX"):
        plain = image.convert("RGBA").convert("RGB")
    else:
        return image
    plain.info.pop("transparency", None)
    return plain
