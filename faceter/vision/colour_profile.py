"""Conversion of images to sRGB by their colour profile (ICC)."""

import io
from itertools import product

import numpy as np
from PIL import Image, ImageCms

_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
"""Pillow's mode by the colour space of a profile."""
_IGNORED = "colour profile ignored: "


def to_srgb(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, list[str]]:
    """Convert an image to sRGB.

    A profile is applied by LittleCMS with the perceptual intent. A profile that changes no colour by more than one
    8-bit level is sRGB itself and is not applied, so that pixels stay exact. A broken profile, or one for another mode
    of image, is ignored with a warning.

    Args:
        image: An image without alpha.
        profile: Its ICC profile, if the file has one.

    Returns:
        An image of mode RGB, and warnings.
    """
    source, warnings = _applicable_profile(image, profile)
    if source is not None:
        mode = "RGB" if image.mode not in _MODES.values() else image.mode
        try:
            transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
            if mode == "RGB" and _is_identity(transform):
                return image.convert("RGB"), warnings
            converted = ImageCms.applyTransform(image.convert(mode), transform)
        except ImageCms.PyCMSError as error:
            warnings.append(f"{_IGNORED}it cannot be applied ({_ascii(str(error))})")
        else:
            assert converted is not None
            warning = "colour profile converted to sRGB"
            return converted, [*warnings, f"CMYK converted to RGB, {warning}" if mode == "CMYK" else warning]
    if image.mode == "CMYK":
        warnings.append("CMYK converted to RGB without a colour profile")
    return image.convert("RGB"), warnings


def _applicable_profile(image: Image.Image, profile: bytes | None) -> tuple[ImageCms.ImageCmsProfile | None, list[str]]:
    if not profile:
        return None, []
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = source.profile.xcolor_space.strip()
    except (OSError, TypeError, ValueError, ImageCms.PyCMSError):
        return None, [f"{_IGNORED}it is broken"]
    mode = _MODES.get(space)
    if mode is None or (mode != image.mode and {mode, image.mode} & {"L", "CMYK"}):
        return None, [f"{_IGNORED}it is for {_ascii(space)}, the image is {image.mode}"]
    return source, []


def _is_identity(transform: ImageCms.ImageCmsTransform) -> bool:
    levels = (0, 32, 64, 96, 128, 160, 192, 224, 255)
    colours = np.array([list(product(levels, repeat=3))], np.uint8)
    applied = ImageCms.applyTransform(Image.fromarray(colours), transform)
    return bool(np.abs(np.asarray(applied).astype(int) - colours).max() <= 1)


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode()
