"""Opens image files that strangers sent."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from PIL import Image, ImageFile, UnidentifiedImageError

from faceter.contracts.errors import FaceterError, ProblemKind

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""File formats that are read, by Pillow's names."""

EXTENSIONS = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff"})
"""File name endings, in lower case, that say a file is an image of one of those formats."""

# ``opening`` holds images to its own limit before it decodes them; Pillow's global limit would warn below it.
Image.MAX_IMAGE_PIXELS = None

# Pillow warns of odd metadata in images it reads all the same; nobody who reads a server's log can mend those.
warnings.filterwarnings("ignore", category=UserWarning, module="PIL")

_ORIENTATION = 0x0112
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIXTEEN_BIT_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")
"""Pillow's modes of 16-bit grey."""


def open_image(source: BinaryIO | bytes, *, max_pixels: int, name: str) -> Image.Image:
    """Open an image file as 8-bit RGB, upright.

    The size is read from the header and held to ``max_pixels`` before a single pixel is decoded. Of an animation the
    first frame is taken. The EXIF orientation is applied. What is transparent is laid over white, as a page would
    show it: the colour stored under a transparent pixel is arbitrary. 16-bit values keep their upper 8 bits. Colour
    profiles are not applied; CMYK is converted without one.

    Args:
        source: The file, or its bytes. JPEG, PNG, WebP, GIF, BMP or TIFF; told by its content, not by its name.
        max_pixels: Most pixels (width times height) it may have.
        name: What to call it in an error.

    Returns:
        An image of mode ``RGB`` that no longer needs the file.

    Raises:
        FaceterError: ``INVALID_IMAGE`` if it is empty, broken, cut off or of another format; ``IMAGE_TOO_LARGE``.
    """
    with opening(source, max_pixels=max_pixels, name=name) as image:
        image.load()
        return _to_rgb(upright(image), name)


@contextmanager
def opening(source: BinaryIO | bytes, *, max_pixels: int, name: str) -> Iterator[ImageFile.ImageFile]:
    """Open an image file for the length of the block, of which nothing but the header has been read.

    Args:
        source: The file, or its bytes, as `open_image` takes them.
        max_pixels: Most pixels (width times height) it may have.
        name: What to call it in an error.

    Yields:
        The image as Pillow opens it: not decoded, in its own mode, not upright.

    Raises:
        FaceterError: ``INVALID_IMAGE`` if the header cannot be read or the block fails to decode the image;
            ``IMAGE_TOO_LARGE``.
    """
    stream = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        with Image.open(stream, formats=FORMATS) as image:
            _check_size(image, max_pixels, name)
            yield image
    except (FaceterError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise _unreadable(stream, name) from error
    # Pillow's decoders answer hostile bytes with OSError, SyntaxError, ValueError, struct.error, KeyError and others.
    except Exception as error:
        raise FaceterError(
            ProblemKind.INVALID_IMAGE,
            f"The image '{name}' is broken or cut off ({error}). Save it again and send the new file.",
        ) from error


def _check_size(image: Image.Image, max_pixels: int, name: str) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise FaceterError(
            ProblemKind.IMAGE_TOO_LARGE,
            f"The image '{name}' is {width} × {height} pixels; this server takes up to {max_pixels:,} in all. "
            "Scale it down.",
        )


def _unreadable(stream: BinaryIO, name: str) -> FaceterError:
    stream.seek(0)
    if not stream.read(1):
        return FaceterError(ProblemKind.INVALID_IMAGE, f"The image '{name}' is an empty file.")
    return FaceterError(
        ProblemKind.INVALID_IMAGE,
        f"The file '{name}' is not an image that can be read. Send a JPEG, PNG, WebP, GIF, BMP or TIFF file.",
    )


def upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation; an image whose EXIF block cannot be parsed is taken as it is."""
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except Exception:  # the pixels are sound, and the block may be broken in any way
        return image
    transpose = _TRANSPOSE.get(orientation) if isinstance(orientation, int) else None
    return image if transpose is None else image.transpose(transpose)


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    image = eight_bits(image, name)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        page = Image.new("RGB", layer.size, "white")
        page.paste(layer, mask=layer.getchannel("A"))
        return page
    return image.convert("RGB")


def eight_bits(image: Image.Image, name: str) -> Image.Image:
    """Return an image whose channels have 8 bits: of 16-bit grey the upper 8 (mode ``L``), any other as it is.

    Args:
        image: An image in its own mode.
        name: What to call it in an error.

    Raises:
        FaceterError: ``INVALID_IMAGE`` if it holds values whose range is unknown: floats, or integers beyond 16 bits.
    """
    if image.mode == "F":
        raise FaceterError(
            ProblemKind.INVALID_IMAGE,
            f"The image '{name}' holds 32-bit floats, whose range is unknown. Save it with 8 or 16 bits.",
        )
    if image.mode not in SIXTEEN_BIT_MODES:
        return image
    low, high = image.getextrema()
    assert isinstance(low, int | float)
    assert isinstance(high, int | float)
    if low < 0 or high > 65535:
        raise FaceterError(
            ProblemKind.INVALID_IMAGE,
            f"The image '{name}' holds values from {low:.0f} to {high:.0f}. Save it with 8 or 16 bits, from 0 up.",
        )
    reduced = image.convert("I").point([value >> 8 for value in range(65536)], "L")
    reduced.info.pop("transparency", None)  # a 16-bit value
    return reduced
