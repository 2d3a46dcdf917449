"""Opens image files as sRGB and alpha, for translation: colours change, transparency is kept.

For a network's input, without alpha, see `faceter.vision.images.open_rgb_image`.
"""

from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from faceter.vision.colour_profile import to_srgb
from faceter.vision.images import SIXTEEN_BIT_MODES, apply_orientation, opened_file, to_eight_bits

Pixels = NDArray[np.uint8]
"""8-bit values, 0 to 255."""


@dataclass(frozen=True, eq=False)
class DecodedImage:
    """An 8-bit image with the EXIF orientation applied.

    Attributes:
        colour: sRGB, uint8 [H, W, 3], also where alpha is 0.
        alpha: uint8 [H, W], 255 for opaque; None for an image without transparency.
        warnings: Lossy conversions of the file; short, ASCII only.
    """

    colour: Pixels
    alpha: Pixels | None = None
    warnings: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.colour.shape[0], self.colour.shape[1]


def decode_with_alpha(source: BinaryIO | bytes, *, max_pixels: int, name: str) -> DecodedImage:
    """Open an image file as 8-bit sRGB and alpha, with the EXIF orientation applied.

    Unlike `faceter.vision.images.open_rgb_image`, it returns transparency as a separate plane instead of compositing
    over white, applies embedded colour profiles (of CMYK images too), and reports lossy conversions as warnings.

    Args:
        source: The file, or its bytes: JPEG, PNG, WebP, GIF, BMP or TIFF, detected by content.
        max_pixels: Limit of width × height; checked before decoding.
        name: Name of the image in errors.

    Raises:
        FaceterError: ``INVALID_IMAGE`` if it is empty, broken, truncated or of another format; ``IMAGE_TOO_LARGE``.
    """
    with opened_file(source, max_pixels=max_pixels, name=name) as image:
        warnings = [*_frame_warnings(image), *_bit_depth_warnings(image)]
        image.load()
        profile = image.info.get("icc_profile")
        upright = apply_orientation(image)
        alpha = _alpha(upright)
        opaque = _without_alpha(to_eight_bits(upright, name))
        colour, profile_warnings = to_srgb(opaque, profile if isinstance(profile, bytes) else None)
        return DecodedImage(np.asarray(colour), alpha, (*warnings, *profile_warnings))


def _frame_warnings(image: ImageFile.ImageFile) -> list[str]:
    """Return a warning for several frames; to be called before decoding, since counting moves through the file."""
    count = getattr(image, "n_frames", 1)
    return [f"first of {count} frames"] if count > 1 else []


def _bit_depth_warnings(image: ImageFile.ImageFile) -> list[str]:
    """Return a warning for 16 bits; to be called before decoding, since Pillow then drops the depth of colours."""
    raw: Any = image.tile[0].args if image.tile else ""
    raw = raw[0] if isinstance(raw, tuple) and raw else raw
    wide = image.mode in SIXTEEN_BIT_MODES or (isinstance(raw, str) and ";16" in raw)
    return ["16 bits reduced to 8"] if wide else []


def _alpha(image: Image.Image) -> Pixels | None:
    if image.mode in SIXTEEN_BIT_MODES:
        level = image.info.get("transparency")
        return None if level is None else np.where(np.asarray(image) == level, 0, 255).astype(np.uint8)
    return np.asarray(image.convert("RGBA").getchannel("A")) if image.has_transparency_data else None


def _without_alpha(image: Image.Image) -> Image.Image:
    """Return the colours alone, in a mode that a colour profile may be for: L, RGB, CMYK or another stored mode."""
    if image.mode in ("1", "LA", "La") or (image.mode == "L" and "transparency" in image.info):
        plain = image.convert("LA").getchannel("L")
    elif image.has_transparency_data or image.mode in ("P", "PA", "RGBX"):
        plain = image.convert("RGBA").convert("RGB")
    else:
        return image
    plain.info.pop("transparency", None)
    return plain
