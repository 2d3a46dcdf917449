import io

import numpy as np
import pytest
from PIL import Image

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.vision.decoded_image import decode_with_alpha
from faceter.vision.encoded_image import ImageFormat, encode_image

RNG = np.random.default_rng(0)
SMOOTH = np.asarray(Image.fromarray(RNG.integers(0, 256, (4, 6, 3), np.uint8)).resize((48, 32)))
ALPHA = np.linspace(0, 255, 32 * 48).astype(np.uint8).reshape(32, 48)


def read(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def test_png_is_lossless() -> None:
    for alpha in (None, ALPHA):
        written = encode_image(SMOOTH, alpha, ImageFormat.PNG)
        back = decode_with_alpha(written.content, max_pixels=10_000, name="back")
        assert (back.colour == SMOOTH).all()
        assert (back.alpha is None) is (alpha is None)
        assert back.alpha is None or (back.alpha == ALPHA).all()
        assert written.warnings == ()


@pytest.mark.parametrize("format_", [ImageFormat.JPEG, ImageFormat.WEBP])
def test_higher_quality_means_more_bytes_and_smaller_errors(format_: ImageFormat) -> None:
    sizes, errors = [], []
    for quality in (1, 50, 100):
        content = encode_image(SMOOTH, None, format_, quality=quality).content
        assert f"image/{read(content).format}".lower() == format_.value
        sizes.append(len(content))
        errors.append(np.abs(np.asarray(read(content).convert("RGB")).astype(int) - SMOOTH).mean())
    assert sizes == sorted(sizes)
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 3


def test_webp_keeps_alpha() -> None:
    image = read(encode_image(SMOOTH, ALPHA, ImageFormat.WEBP).content)
    assert image.mode == "RGBA"
    assert (np.asarray(image)[..., 3] == ALPHA).all()


def test_jpeg_composites_transparency_over_white_with_a_warning() -> None:
    clear = np.zeros((32, 48), np.uint8)
    written = encode_image(SMOOTH, clear, ImageFormat.JPEG)
    assert (np.asarray(read(written.content)) == 255).all()
    assert written.warnings == ("transparency composited over white",)
    assert encode_image(SMOOTH, None, ImageFormat.JPEG).warnings == ()


@pytest.mark.parametrize("quality", [0, 101, -5])
def test_a_quality_out_of_range_is_refused(quality: int) -> None:
    with pytest.raises(FaceterError, match="1 to 100") as caught:
        encode_image(SMOOTH, None, ImageFormat.JPEG, quality=quality)
    assert caught.value.kind is ProblemKind.INVALID_REQUEST


@pytest.mark.parametrize("format_", [ImageFormat.JPEG, ImageFormat.WEBP])
def test_a_side_too_long_for_the_format_is_refused(format_: ImageFormat) -> None:
    long = np.zeros((1, 70_000, 3), np.uint8)
    with pytest.raises(FaceterError, match="image/png") as caught:
        encode_image(long, None, format_)
    assert caught.value.kind is ProblemKind.NOT_ACCEPTABLE
    assert encode_image(long, None, ImageFormat.PNG).content


@pytest.mark.parametrize("side", [16_383, 65_500])
def test_the_longest_side_can_be_written(side: int) -> None:
    format_ = ImageFormat.WEBP if side == 16_383 else ImageFormat.JPEG
    assert read(encode_image(np.zeros((1, side, 3), np.uint8), None, format_).content).size == (side, 1)


def test_every_format_has_an_extension() -> None:
    assert [item.extension for item in ImageFormat] == [".png", ".jpg", ".webp"]
