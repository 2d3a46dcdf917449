"""Colour profiles (ICC) of images, applied."""

import io
from itertools import product

import numpy as np
from PIL import Image, ImageCms

_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
"""Pillow's mode by the colour space of a profile."""
_PASSED_OVER = "colour profile passed over: "


def to_srgb(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, list[str]]:
    """Bring an image to sRGB.

    A profile is applied by LittleCMS with the perceptual intent. One that moves no colour by more than one step of 8
    bits is sRGB itself and not applied, so that the pixels stay what they are. One that is broken, or of another kind
    of image, is passed over; a note says so.

    Args:
        image: An image without alpha.
        profile: Its ICC profile, if the file has one.

    Returns:
        An image of mode RGB, and what was done, a few words each.
    """
    source, notes = _usable(image, profile)
    if source is not None:
        mode = "RGB" if image.mode not in _MODES.values() else image.mode
        try:
            transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
            if mode == "RGB" and _changes_nothing(transform):
                return image.convert("RGB"), notes
            converted = ImageCms.applyTransform(image.convert(mode), transform)
        except ImageCms.PyCMSError as error:
            notes.append(f"{_PASSED_OVER}it cannot be applied ({_ascii(str(error))})")
        else:
            assert converted is not None
            how = "colour profile converted to sRGB"
            return converted, [*notes, f"CMYK converted to RGB, {how}" if mode == "CMYK" else how]
    if image.mode == "CMYK":
        notes.append("CMYK converted to RGB without a colour profile")
    return image.convert("RGB"), notes


def _usable(image: Image.Image, profile: bytes | None) -> tuple[ImageCms.ImageCmsProfile | None, list[str]]:
    if not profile:
        return None, []
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = source.profile.xcolor_space.strip()
    except (OSError, TypeError, ValueError, ImageCms.PyCMSError):
        return None, [f"{_PASSED_OVER}it is broken"]
    mode = _MODES.get(space)
    if mode is None or (mode != image.mode and {mode, image.mode} & {"L", "CMYK"}):
        return None, [f"{_PASSED_OVER}it is for {_ascii(space)}, the image is {image.mode}"]
    return source, []


def _changes_nothing(transform: ImageCms.ImageCmsTransform) -> bool:
    levels = (0, 32, 64, 96, 128, 160, 192, 224, 255)
    colours = np.array([list(product(levels, repeat=3))], np.uint8)
    applied = ImageCms.applyTransform(Image.fromarray(colours), transform)
    return bool(np.abs(np.asarray(applied).astype(int) - colours).max() <= 1)


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode()
