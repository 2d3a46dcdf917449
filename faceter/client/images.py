"""Images as files: from paths, bytes, Pillow's images and arrays."""

import io
import os
import struct
import sys
import zlib
from pathlib import Path
from typing import Any, Final

_COLOR_TYPES: Final = {1: 0, 2: 4, 3: 2, 4: 6}
"""PNG's color type by number of channels: gray, gray and alpha, RGB, RGBA."""
_PNG_MODES: Final = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


def is_pillow_image(value: object) -> bool:
    """Return whether a value is an image of Pillow, without loading Pillow."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(value, module.Image)


def is_array(value: object) -> bool:
    """Return whether a value is an array of NumPy, or a tensor that can become one."""
    return (hasattr(value, "__array__") or hasattr(value, "__array_interface__")) and not is_pillow_image(value)


def as_array(value: Any) -> Any:
    """Return an array or tensor as an array of NumPy."""
    import numpy as np

    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)


def is_image_array(value: object) -> bool:
    """Return whether a value is an array of pixels: uint8, [H, W] or [H, W, channels] with 1 to 4 channels."""
    if not is_array(value):
        return False
    array = as_array(value)
    return array.dtype == "uint8" and (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in _COLOR_TYPES))


def image_file(value: Any) -> tuple[str, bytes]:
    """Return an image as the name and the content of a file.

    Args:
        value: A path, the content of a file, an image of Pillow, or an array of uint8 [H, W] or [H, W, channels]: gray,
            gray and alpha, RGB, or RGBA.

    Raises:
        FileNotFoundError: If there is no file at the path.
        TypeError: If it is no image.
    """
    if isinstance(value, (str, os.PathLike)):
        path = Path(value)
        if not path.is_file():
            raise FileNotFoundError(f"There is no image file {str(path)!r}.")
        return path.name, path.read_bytes()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return "image", bytes(value)
    if is_pillow_image(value):
        file = io.BytesIO()
        (value if value.mode in _PNG_MODES else value.convert("RGB")).save(file, "PNG")
        return "image.png", file.getvalue()
    if is_image_array(value):
        return "image.png", png(as_array(value))
    raise TypeError(
        "An image is a path, bytes, an image of Pillow, or an array of uint8 [H, W] or [H, W, 1 to 4 channels], "
        f"not {_described(value)}."
    )


def png(array: Any) -> bytes:
    """Return an array of uint8, [H, W] or [H, W, channels], as a PNG file."""
    height, width = array.shape[:2]
    channels = array.shape[2] if array.ndim == 3 else 1
    rows = array.reshape(height, width * channels)
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOR_TYPES[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 1)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def opened(content: bytes) -> Any:
    """Return the content of an image file as an image of Pillow, or as it is where Pillow is not installed."""
    try:
        from PIL import Image
    except ImportError:
        return content
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def _described(value: object) -> str:
    if is_array(value):
        array = as_array(value)
        return f"an array of {array.dtype} {list(array.shape)}"
    return type(value).__name__
