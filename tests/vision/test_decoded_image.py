import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.vision.decoded_image import DecodedImage, decode_with_alpha
from faceter.vision.images import FORMATS
from tests.vision.test_images import LIMIT, ORIENTATION, encode, png, quadrants

RED = (255, 0, 0)


def opened(content: bytes, limit: int = LIMIT) -> DecodedImage:
    return decode_with_alpha(content, max_pixels=limit, name="a.png")


def wide_gamut() -> bytes:
    """Return the ICC profile of a made-up RGB space whose green is purer than sRGB's, with a gamma of 2.2."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack(">I", profile[128:132])[0]
    for index in range(count):
        tag, offset, _ = struct.unpack(">4sII", profile[132 + 12 * index : 144 + 12 * index])
        if tag == b"gXYZ":  # swapped with red: what was green is red
            green = offset
        if tag == b"rXYZ":
            red = offset
    profile[red + 8 : red + 20], profile[green + 8 : green + 20] = (
        profile[green + 8 : green + 20],
        profile[red + 8 : red + 20],
    )
    return bytes(profile)


def test_an_ordinary_image_is_not_changed() -> None:
    decoded = opened(encode(quadrants(), "PNG"))
    assert (decoded.colour == np.asarray(quadrants())).all()
    assert decoded.alpha is None
    assert decoded.warnings == ()
    assert decoded.size == (16, 32)


@pytest.mark.parametrize("format_", ["PNG", "WEBP", "TIFF"])
def test_colour_and_alpha_are_separate(format_: str) -> None:
    pixels = np.array([[[255, 0, 0, 255], [255, 0, 0, 0], [0, 0, 0, 128]]], np.uint8)
    options: dict[str, Any] = {"lossless": True, "exact": True} if format_ == "WEBP" else {}
    decoded = opened(encode(Image.fromarray(pixels), format_, **options))
    assert (decoded.colour == pixels[..., :3]).all()
    assert decoded.alpha is not None
    assert (decoded.alpha == pixels[..., 3]).all()


def test_grey_with_alpha_keeps_both() -> None:
    image = Image.merge("LA", [Image.new("L", (2, 1), 90), Image.fromarray(np.array([[7, 255]], np.uint8))])
    decoded = opened(encode(image, "PNG"))
    assert (decoded.colour == 90).all()
    assert decoded.alpha is not None
    assert decoded.alpha.tolist() == [[7, 255]]


@pytest.mark.parametrize("format_", ["PNG", "GIF"])
def test_a_transparent_colour_of_a_palette_becomes_alpha(format_: str) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([0, 1])
    decoded = opened(encode(image, format_, transparency=1))
    assert decoded.alpha is not None
    assert decoded.alpha.tolist() == [[255, 0]]
    assert decoded.colour[0, 0].tolist() == [10, 20, 30]


def test_a_transparent_colour_of_rgb_and_grey_becomes_alpha() -> None:
    for mode, clear, other in (("RGB", (1, 2, 3), (1, 2, 4)), ("L", 5, 6)):
        image = Image.new(mode, (2, 1), other)
        image.putpixel((0, 0), clear)
        decoded = opened(encode(image, "PNG", transparency=clear))
        assert decoded.alpha is not None
        assert decoded.alpha.tolist() == [[0, 255]]
        expected = list(clear) if isinstance(clear, tuple) else [clear] * 3
        assert decoded.colour[0, 0].tolist() == expected


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_applied_to_colour_and_alpha(orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    colour = np.random.default_rng(0).integers(0, 256, (3, 5, 3), np.uint8)
    content = encode(Image.fromarray(np.dstack([colour, colour[..., :1]])), "PNG", exif=exif)
    decoded = opened(content)
    assert decoded.size == ((3, 5) if orientation < 5 else (5, 3))
    assert decoded.alpha is not None
    assert (decoded.alpha == decoded.colour[..., 0]).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16"])
@pytest.mark.parametrize("level", [0, 255])
def test_black_and_white_survive_every_mode(mode: str, level: int) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.full((4, 4), level * 257, np.uint16))
    else:
        image = Image.new("RGB", (4, 4), (level, level, level)).convert(mode)
    decoded = opened(encode(image, "TIFF" if mode in ("CMYK", "YCbCr") else "PNG"))
    assert (decoded.colour == level).all()
    assert decoded.colour.shape == (4, 4, 3)
    assert (decoded.alpha is not None) is (mode in ("LA", "RGBA"))


def test_sixteen_bits_are_reduced_with_a_warning() -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    for format_ in ("PNG", "TIFF"):
        decoded = opened(encode(Image.fromarray(values), format_))
        assert (decoded.colour == (values >> 8)[..., None]).all()
        assert decoded.warnings == ("16 bits reduced to 8",)
    pixels = np.array([[[0x12FF, 0x8000, 0xFFFF], [0, 0x00FF, 0x0100]]], ">u2")
    decoded = opened(png(2, 1, 16, 2, b"\0" + pixels.tobytes()))
    assert decoded.colour.tolist() == [[[0x12, 0x80, 0xFF], [0, 0, 1]]]
    assert decoded.warnings == ("16 bits reduced to 8",)


def test_a_transparent_level_of_sixteen_bit_grey_becomes_alpha() -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    content = png(2, 1, 16, 0, b"\0" + np.array([[0x12FF, 0x1200]], ">u2").tobytes())
    place = content.index(b"IDAT") - 4
    decoded = opened(content[:place] + chunk(b"tRNS", b"\x12\xff") + content[place:])
    assert decoded.alpha is not None
    assert decoded.alpha.tolist() == [[0, 255]]
    assert (decoded.colour == 0x12).all()


@pytest.mark.parametrize("format_", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_is_taken_with_a_warning(format_: str) -> None:
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue", "green")]
    options: dict[str, Any] = {"lossless": True} if format_ == "WEBP" else {}
    decoded = opened(encode(frames[0], format_, save_all=True, append_images=frames[1:], **options))
    assert (decoded.colour == RED).all()
    assert decoded.warnings == ("first of 3 frames",)


def test_cmyk_without_a_profile_is_converted_with_a_warning() -> None:
    decoded = opened(encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95))
    assert np.abs(decoded.colour.astype(int) - RED).max() <= 6
    assert decoded.warnings == ("CMYK converted to RGB without a colour profile",)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_a_colour_profile_is_applied(mode: str) -> None:
    image = Image.new("RGB", (4, 4), (255, 0, 0)).convert(mode)
    decoded = opened(encode(image, "PNG", icc_profile=wide_gamut()))
    assert np.abs(decoded.colour.astype(int) - [0, 255, 0]).max() <= 3
    assert decoded.warnings == ("colour profile converted to sRGB",)


def test_an_srgb_profile_changes_no_pixel() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    decoded = opened(encode(Image.fromarray(pixels), "PNG", icc_profile=profile))
    assert (decoded.colour == pixels).all()
    assert decoded.warnings == ()


@pytest.mark.parametrize("profile", [b"not a profile", wide_gamut()[:200], bytes(200)])
def test_a_broken_profile_is_ignored_with_a_warning(profile: bytes) -> None:
    decoded = opened(encode(quadrants(), "PNG", icc_profile=profile))
    assert (decoded.colour == np.asarray(quadrants())).all()
    (warning,) = decoded.warnings
    assert warning.startswith("colour profile ignored")


def test_a_profile_for_another_mode_is_ignored_with_a_warning() -> None:
    for image in (Image.new("L", (4, 4), 77), Image.new("CMYK", (4, 4), (0, 255, 255, 0))):
        format_ = "PNG" if image.mode == "L" else "JPEG"
        decoded = opened(encode(image, format_, icc_profile=wide_gamut()))
        assert any("it is for RGB" in warning for warning in decoded.warnings)
        assert decoded.colour.shape == (4, 4, 3)


def test_warnings_are_valid_in_a_header() -> None:
    content = encode(Image.new("CMYK", (4, 4)), "JPEG", icc_profile=b"\xff" * 200)
    assert all(warning.isascii() and "\n" not in warning for warning in opened(content).warnings)


def test_bad_files_are_refused_as_open_image_refuses_them() -> None:
    cases = {
        b"": "empty",
        b"these are not the bytes of an image": "not an image",
        encode(quadrants(), "PNG")[:60]: "broken or cut off",
        encode(Image.new("F", (4, 4)), "TIFF"): "8 or 16 bits",
    }
    for content, words in cases.items():
        with pytest.raises(FaceterError, match=words) as caught:
            opened(content)
        assert caught.value.kind is ProblemKind.INVALID_IMAGE


def test_a_gigapixel_image_is_refused_by_its_header() -> None:
    with pytest.raises(FaceterError, match="60000 × 60000") as caught:
        opened(png(60_000, 60_000, 8, 2, b""), 100_000_000)
    assert caught.value.kind is ProblemKind.IMAGE_TOO_LARGE


@given(st.sampled_from(FORMATS), st.data())
def test_damaged_files_give_an_image_or_a_problem(format_: str, data: st.DataObject) -> None:
    image = quadrants().convert("RGBA") if format_ in ("PNG", "WEBP", "TIFF") else quadrants()
    content = bytearray(encode(image, format_, icc_profile=wide_gamut()))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    assert outcome(bytes(content)) in ("uint8", ProblemKind.INVALID_IMAGE, ProblemKind.IMAGE_TOO_LARGE)


def outcome(content: bytes) -> ProblemKind | str:
    try:
        return str(opened(content).colour.dtype)
    except FaceterError as error:
        return error.kind


def test_a_file_object_is_read_like_bytes() -> None:
    content = encode(quadrants(), "PNG")
    assert (decode_with_alpha(io.BytesIO(content), max_pixels=LIMIT, name="a").colour == opened(content).colour).all()
