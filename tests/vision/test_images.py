import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.vision.images import EXTENSIONS, FORMATS, open_rgb_image

LIMIT = 1_000_000
QUADRANTS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)
ORIENTATION = 0x0112
LOSSLESS: dict[str, dict[str, Any]] = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}


def quadrants(width: int = 32, height: int = 16) -> Image.Image:
    """Red, green over blue, white."""
    return Image.fromarray(QUADRANTS).resize((width, height), Image.Resampling.NEAREST)


def encode(image: Image.Image, format_: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format_, **options)
    return stream.getvalue()


def opened(content: bytes, limit: int = LIMIT) -> np.ndarray:
    image = open_rgb_image(content, max_pixels=limit, name="cats/7.png")
    assert image.mode == "RGB"
    return np.asarray(image)


def refused(content: bytes, limit: int = LIMIT) -> FaceterError:
    with pytest.raises(FaceterError) as caught:
        open_rgb_image(content, max_pixels=limit, name="cats/7.png")
    assert "cats/7.png" in caught.value.detail
    return caught.value


def png(width: int, height: int, depth: int, color_type: int, rows: bytes) -> bytes:
    """Write a PNG by hand: Pillow writes no 16-bit colour and no false header."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("format_", FORMATS)
def test_each_format_gives_the_colours_that_were_saved(format_: str) -> None:
    options = LOSSLESS.get(format_, {})
    image = quadrants()
    assert np.abs(opened(encode(image, format_, **options)).astype(int) - np.asarray(image)).max() <= 6


def test_a_file_object_is_read_like_bytes() -> None:
    content = encode(quadrants(), "PNG")
    image = open_rgb_image(io.BytesIO(content), max_pixels=LIMIT, name="a.png")
    assert (np.asarray(image) == opened(content)).all()


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_orientation_is_applied(format_: str, orientation: int) -> None:
    undo: dict[int, Callable[[Image.Image], Image.Image]] = {
        1: lambda image: image,
        2: lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: lambda image: image.transpose(Image.Transpose.ROTATE_180),
        4: lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: lambda image: image.transpose(Image.Transpose.TRANSPOSE),
        6: lambda image: image.transpose(Image.Transpose.ROTATE_90),
        7: lambda image: image.transpose(Image.Transpose.TRANSVERSE),
        8: lambda image: image.transpose(Image.Transpose.ROTATE_270),
    }
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options = LOSSLESS.get(format_, {})
    upright = quadrants()
    content = encode(undo[orientation](upright), format_, exif=exif, **options)
    got = opened(content)
    assert got.shape == (16, 32, 3)
    assert np.abs(got.astype(int) - np.asarray(upright)).max() <= 6


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_a_broken_exif_block_is_ignored() -> None:
    exif = b"Exif\x00\x00MM\x00*\x00\x00\xff\xff"
    assert opened(encode(quadrants(), "JPEG", exif=exif)).shape == (16, 32, 3)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16"])
@pytest.mark.parametrize("level", [0, 255])
def test_black_and_white_survive_every_mode(mode: str, level: int) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.full((4, 4), level * 257, np.uint16))
    else:
        image = Image.new("RGB", (4, 4), (level, level, level)).convert(mode)
    format_ = "TIFF" if mode in ("CMYK", "YCbCr") else "PNG"
    assert (opened(encode(image, format_)) == level).all()


def test_a_cmyk_jpeg_keeps_its_colours() -> None:
    got = opened(encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95))
    assert np.abs(got.astype(int) - [255, 0, 0]).max() <= 6


def test_sixteen_bit_grey_keeps_its_upper_byte() -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    for format_ in ("PNG", "TIFF"):
        assert (opened(encode(Image.fromarray(values), format_)) == (values >> 8)[..., None]).all()


def test_sixteen_bit_colour_keeps_its_upper_byte() -> None:
    pixels = np.array([[[0x12FF, 0x8000, 0xFFFF], [0, 0x00FF, 0x0100]]], ">u2")
    assert opened(png(2, 1, 16, 2, b"\0" + pixels.tobytes())).tolist() == [[[0x12, 0x80, 0xFF], [0, 0, 1]]]


def test_transparency_is_composited_over_white() -> None:
    image = Image.fromarray(np.array([[[255, 0, 0, 255], [255, 0, 0, 0], [0, 0, 0, 128]]], np.uint8))
    for format_ in ("PNG", "WEBP", "TIFF"):
        options = {"lossless": True, "exact": True} if format_ == "WEBP" else {}
        assert opened(encode(image, format_, **options)).tolist() == [[[255, 0, 0], [255, 255, 255], [127, 127, 127]]]


def test_a_transparent_colour_of_a_palette_is_composited_over_white() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([0, 1])
    assert opened(encode(image, "PNG", transparency=1)).tolist() == [[[10, 20, 30], [255, 255, 255]]]
    assert opened(encode(image, "GIF", transparency=1)).tolist() == [[[10, 20, 30], [255, 255, 255]]]


@pytest.mark.parametrize("format_", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_is_taken(format_: str) -> None:
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    options = {"lossless": True} if format_ == "WEBP" else {}
    content = encode(frames[0], format_, save_all=True, append_images=frames[1:], **options)
    assert (opened(content) == [255, 0, 0]).all()


@pytest.mark.parametrize("image", [Image.new("F", (4, 4)), Image.new("I", (4, 4), 70_000), Image.new("I", (4, 4), -1)])
def test_values_of_unknown_range_are_refused(image: Image.Image) -> None:
    error = refused(encode(image, "TIFF"))
    assert error.kind is ProblemKind.INVALID_IMAGE
    assert "8 or 16 bits" in error.detail


@pytest.mark.parametrize("format_", FORMATS)
def test_a_truncated_file_is_refused(format_: str) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    content = encode(image, format_)
    error = refused(content[: len(content) // 2])
    assert error.kind is ProblemKind.INVALID_IMAGE


def test_empty_and_invalid_files_have_different_messages() -> None:
    assert "empty" in refused(b"").detail
    assert "not an image" in refused(b"these are not the bytes of an image").detail


@pytest.mark.parametrize("format_", ["PPM", "ICO", "TGA", "PCX"])
def test_other_formats_are_refused(format_: str) -> None:
    assert refused(encode(quadrants(), format_)).kind is ProblemKind.INVALID_IMAGE


def test_a_gigapixel_image_is_refused_by_its_header() -> None:
    error = refused(png(60_000, 60_000, 8, 2, b""), limit=100_000_000)
    assert error.kind is ProblemKind.IMAGE_TOO_LARGE
    assert "60000 × 60000" in error.detail


def test_the_limit_itself_is_allowed_and_one_pixel_more_is_not() -> None:
    content = encode(quadrants(32, 16), "PNG")
    assert opened(content, limit=32 * 16).shape == (16, 32, 3)
    assert refused(content, limit=32 * 16 - 1).kind is ProblemKind.IMAGE_TOO_LARGE


def test_pillows_own_limit_is_disabled() -> None:
    """Over 89 million pixels Pillow would warn as soon as it has read the header; this file breaks off after it."""
    error = refused(png(1000, 90_000, 1, 0, b""), limit=100_000_000)
    assert error.kind is ProblemKind.INVALID_IMAGE
    assert not isinstance(error.__cause__, Warning | Image.DecompressionBombError)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(FORMATS), st.data())
def test_damaged_files_give_an_image_or_a_problem(format_: str, data: st.DataObject) -> None:
    content = bytearray(encode(quadrants(), format_))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    assert outcome(bytes(content)) in ("RGB", ProblemKind.INVALID_IMAGE, ProblemKind.IMAGE_TOO_LARGE)


def outcome(content: bytes) -> ProblemKind | str:
    try:
        return open_rgb_image(content, max_pixels=LIMIT, name="damaged").mode
    except FaceterError as error:
        return error.kind


def test_extensions_are_lower_case_with_a_dot() -> None:
    assert all(extension.startswith(".") and extension == extension.lower() for extension in EXTENSIONS)
