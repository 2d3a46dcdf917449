"""Small image files that would take much memory or time: refused by their header, or read no further than needed."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.vision.images import open_rgb_image

_MOST_PIXELS = 100_000_000


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, *, depth: int = 8, color: int = 2, further: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    values = chunk(b"IDAT", zlib.compress(bytes(100_000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + further + values + chunk(b"IEND", b"")


def saved(form: str, frames: int = 1) -> bytes:
    """Return an image, an animation or pages of 20 × 20 pixels."""
    images = [Image.new("RGB", (20, 20), (number * 97 % 256, number * 31 % 256, 0)) for number in range(frames)]
    file = io.BytesIO()
    more = {"save_all": True, "append_images": images[1:]} if frames > 1 else {}
    images[0].save(file, form, **more)
    return file.getvalue()


def patched(content: bytes, at: int, value: bytes) -> bytes:
    return content[:at] + value + content[at + len(value) :]


def large_jpeg() -> bytes:
    content = saved("JPEG")
    return patched(content, content.index(b"\xff\xc0") + 5, struct.pack(">HH", 12_288, 12_288))


def large_canvas() -> bytes:
    content = saved("WEBP", 2)
    assert content[12:16] == b"VP8X"
    return patched(content, 24, (16_382).to_bytes(3, "little") * 2)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (png(50_000, 50_000), "50000 × 50000"),
        (png(50_000, 50_000, depth=1, color=0), "50000 × 50000"),
        (large_jpeg(), "12288 × 12288"),
        (large_canvas(), "16383 × 16383"),
        (patched(saved("GIF", 2), 6, b"\xff\xff\xff\xff"), "65535 × 65535"),
    ],
    ids=["png", "png of one bit", "jpeg", "webp", "gif"],
)
def test_a_header_that_declares_too_many_pixels_is_enough(content: bytes, said: str) -> None:
    with pytest.raises(FaceterError, match=said) as caught:
        open_rgb_image(content, max_pixels=_MOST_PIXELS, name="x")
    assert caught.value.kind is ProblemKind.IMAGE_TOO_LARGE


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP"])
def test_compressed_texts_and_profiles_have_a_largest_size(kind: bytes) -> None:
    further = chunk(kind, b"a\0\0" + zlib.compress(bytes(20_000_000)))
    with pytest.raises(FaceterError, match="too large") as caught:
        open_rgb_image(png(10, 10, further=further), max_pixels=_MOST_PIXELS, name="x")
    assert caught.value.kind is ProblemKind.INVALID_IMAGE


@pytest.mark.parametrize("form", ["WEBP", "TIFF", "GIF"])
def test_only_the_first_of_many_frames_is_read(form: str) -> None:
    content = saved(form, 200)
    first = open_rgb_image(content, max_pixels=_MOST_PIXELS, name="x")
    assert first.size == (20, 20)
    assert np.asarray(first).max() < 20


def test_a_tiff_whose_pages_form_a_circle_is_read() -> None:
    content = saved("TIFF")
    at = struct.unpack("<I", content[4:8])[0]
    (tags,) = struct.unpack("<H", content[at : at + 2])
    circle = patched(content, at + 2 + 12 * tags, struct.pack("<I", at))
    assert open_rgb_image(circle, max_pixels=_MOST_PIXELS, name="x").size == (20, 20)
