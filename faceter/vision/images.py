"""Opens untrusted image files as RGB, for a network's input.

To keep transparency and apply colour profiles, see `faceter.vision.decoded_image.decode_with_alpha`.
"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from PIL import Image, ImageFile, UnidentifiedImageError

from faceter.contracts.errors import FaceterError, ProblemKind

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""Accepted file formats, by Pillow's names."""

EXTENSIONS = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff"})
"""File name extensions of those formats, in lower case."""

# ``opened_file`` checks its own limit before decoding; Pillow's global limit would warn below it.
Image.MAX_IMAGE_PIXELS = None

# Pillow warns about invalid metadata in images that it reads correctly; a server's log is no place for it.
warnings.filterwarnings("ignore", category=UserWarning, module="PIL")

_ORIENTATION = 0x0112
_UPRIGHT = 1
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
TURNED = (5, 6, 7, 8)
"""EXIF orientations of images that lie on their side."""
SIXTEEN_BIT_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")
"""Pillow's modes of 16-bit grey."""


def open_rgb_image(source: BinaryIO | bytes, *, max_pixels: int, name: str) -> Image.Image:
    """Open an image file as 8-bit RGB with the EXIF orientation applied.

    The size is read from the header and checked against ``max_pixels`` before decoding. Of an animation the first frame
    is taken. Transparency is composited over white, as a web page shows it: the colour of a transparent pixel is
    arbitrary. 16-bit values keep their upper 8 bits. Colour profiles are ignored, for CMYK too.

    Args:
        source: The file, or its bytes: JPEG, PNG, WebP, GIF, BMP or TIFF, detected by content.
        max_pixels: Limit of width × height.
        name: Name of the image in errors.

    Returns:
        An image of mode ``RGB`` that no longer needs the file.

    Raises:
        FaceterError: ``INVALID_IMAGE`` if it is empty, broken, truncated or of another format; ``IMAGE_TOO_LARGE``.
    """
    with opened_file(source, max_pixels=max_pixels, name=name) as image:
        return upright_rgb(image, name)


def upright_rgb(image: ImageFile.ImageFile, name: str) -> Image.Image:
    """Decode an opened file as 8-bit RGB with the EXIF orientation applied; see `open_rgb_image`.

    Args:
        image: As `opened_file` yields it.
        name: Name of the image in errors.
    """
    image.load()
    return _to_rgb(apply_orientation(image), name)


@contextmanager
def opened_file(source: BinaryIO | bytes, *, max_pixels: int, name: str) -> Iterator[ImageFile.ImageFile]:
    """Open an image file, read its header only, and translate errors of decoding within the ``with`` block.

    Args:
        source: The file, or its bytes, as for `open_rgb_image`.
        max_pixels: Limit of width × height.
        name: Name of the image in errors.

    Yields:
        The image as Pillow opens it: not decoded, in its own mode and orientation.

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
    # Pillow's decoders raise on malformed bytes OSError, SyntaxError, ValueError, struct.error, KeyError and others.
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
            f"The image '{name}' is {width} × {height} pixels; this server accepts up to {max_pixels:,} in total. "
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


def apply_orientation(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation; an image whose EXIF block cannot be parsed is returned unchanged."""
    transpose = _TRANSPOSE.get(orientation_of(image))
    return image if transpose is None else image.transpose(transpose)


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 if there is none, or if the EXIF block cannot be parsed."""
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except Exception:  # the pixels are sound, and the block may be broken in any way
        return _UPRIGHT
    return orientation if isinstance(orientation, int) and orientation in _TRANSPOSE else _UPRIGHT


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    image = to_eight_bits(image, name)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        page = Image.new("RGB", layer.size, "white")
        page.paste(layer, mask=layer.getchannel("A"))
        return page
    return image if image.mode == "RGB" else image.convert("RGB")


def to_eight_bits(image: Image.Image, name: str) -> Image.Image:
    """Reduce 16-bit grey to its upper 8 bits (mode ``L``); return any other image unchanged.

    Args:
        image: An image in its own mode.
        name: Name of the image in errors.

    Raises:
        FaceterError: ``INVALID_IMAGE`` if its value range is unknown: floats, or integers beyond 16 bits.
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
