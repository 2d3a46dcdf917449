"""Decoding for a model's input: `full` and `scaled`."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.preprocessing import Decoder, Preprocessing, Resampler, ResizeRule
from faceter.vision.decoder import InputImage, open_input_image
from faceter.vision.images import open_rgb_image
from faceter.vision.preprocess import preprocess
from faceter.vision.resampling.plan import resize_plan

LIMIT = 10_000_000
ORIENTATION = 0x0112
Fields = dict[str, Any]

UNDO: dict[int, Callable[[Image.Image], Image.Image]] = {
    1: lambda image: image,
    2: lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    3: lambda image: image.transpose(Image.Transpose.ROTATE_180),
    4: lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    5: lambda image: image.transpose(Image.Transpose.TRANSPOSE),
    6: lambda image: image.transpose(Image.Transpose.ROTATE_90),
    7: lambda image: image.transpose(Image.Transpose.TRANSVERSE),
    8: lambda image: image.transpose(Image.Transpose.ROTATE_270),
}
"""What a camera of each EXIF orientation stores of an upright image."""


def photo(width: int, height: int) -> Image.Image:
    """Return an image of smooth colours with some noise."""
    random = np.random.default_rng(0)
    coarse = Image.fromarray(random.integers(0, 256, (6, 8, 3), np.uint8))
    pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float64)
    return Image.fromarray(np.clip(pixels + random.normal(0, 3, pixels.shape), 0, 255).astype(np.uint8))


def encode(image: Image.Image, form: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **({"quality": 95} if form == "JPEG" else {}), **options)
    return file.getvalue()


def turned(image: Image.Image, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return encode(UNDO[orientation](image), exif=exif)


def opened(content: bytes, limit: int = LIMIT, **fields: Any) -> InputImage:
    given_fields = {"size": [224, 224], "decoder": "scaled", "scale": 1.0, **fields}
    return open_input_image(content, Preprocessing.model_validate(given_fields), max_pixels=limit, name="a.jpg")


def differences(content: bytes, **fields: Any) -> np.ndarray[Any, Any]:
    """Return the absolute difference of the model's input by both decoders, in pixel values."""
    inputs = [opened(content, decoder=decoder, **fields).preprocessed()[0] for decoder in Decoder]
    return np.abs(inputs[0] - inputs[1])


@pytest.mark.parametrize("fields", [{}, {"decoder": "full"}])
def test_by_default_pixels_are_those_of_the_whole_file(fields: Fields) -> None:
    content = encode(photo(1203, 905))
    preprocessing = Preprocessing.model_validate({"size": [64, 64], **fields})
    image = open_input_image(content, preprocessing, max_pixels=LIMIT, name="a.jpg")
    expected, placement = preprocess(open_rgb_image(content, max_pixels=LIMIT, name="a.jpg"), preprocessing)
    values, found = image.preprocessed()
    assert (values == expected).all()
    assert found == placement
    assert image.pixels.size == (1203, 905)


@pytest.mark.parametrize(
    ("size", "fields", "reduction"),
    [
        ((1791, 1792), {}, 8),
        ((1784, 1792), {}, 4),
        ((1792, 4000), {}, 8),
        ((896, 4000), {}, 4),
        ((448, 4000), {}, 2),
        ((446, 4000), {}, 1),
        ((100, 4000), {}, 1),
        ((4000, 1000), {"resize": "crop"}, 4),
        ((4000, 1000), {"resize": "crop", "crop_fraction": 0.875}, 2),
        ((4000, 1024), {"resize": "crop", "crop_fraction": 0.875}, 4),
        ((4000, 1000), {"resize": "pad"}, 8),
        ((1792, 448), {"resize": "pad"}, 8),
        ((1776, 448), {"resize": "pad"}, 4),
        ((4000, 1000), {"crop_fraction": 0.5}, 2),
        ((2048, 2048), {"crop_fraction": 0.875, "resampler": "tensorflow"}, 8),
        ((2020, 2020), {"crop_fraction": 0.875, "resampler": "tensorflow"}, 4),
        ((7, 90), {"size": [1, 1]}, 4),
    ],
)
def test_the_smallest_scale_that_resizing_does_not_enlarge(
    size: tuple[int, int], fields: Fields, reduction: int
) -> None:
    image = opened(encode(Image.new("RGB", size)), **fields)
    assert image.reduction == reduction
    assert image.pixels.size == (-(-size[0] // reduction), -(-size[1] // reduction))
    assert image.size == size


@given(
    st.tuples(st.integers(1, 700), st.integers(1, 700)),
    st.tuples(st.integers(1, 200), st.integers(1, 200)),
    st.sampled_from(ResizeRule),
    st.sampled_from(Resampler),
    st.none() | st.floats(0.3, 1),
)
def test_nothing_is_enlarged_that_the_whole_image_would_not_be(
    size: tuple[int, int],
    target: tuple[int, int],
    rule: ResizeRule,
    resampler: Resampler,
    fraction: float | None,
) -> None:
    fields: Fields = {"crop_fraction": fraction} if rule is not ResizeRule.PAD else {}
    image = opened(encode(Image.new("L", size)), size=list(target), resize=rule, resampler=resampler, **fields)
    scales = resize_plan(image.pixels.size, image.preprocessing).scale
    assert image.reduction == 1 or max(scales) <= 1
    half = tuple(-(-side // (2 * image.reduction)) for side in size)
    if image.reduction < 8 and min(size) >= 2 * image.reduction:
        assert max(resize_plan((half[0], half[1]), image.preprocessing).scale) > 1
    values, placement = image.preprocessed()
    assert np.isfinite(values).all()
    assert placement.image == size


@pytest.mark.parametrize("form", ["PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_other_formats_are_decoded_in_full(form: str) -> None:
    content = encode(photo(640, 480), form)
    image = opened(content, size=[32, 32])
    assert (image.reduction, image.pixels.size) == (1, (640, 480))
    assert not differences(content, size=[32, 32]).any()


def test_a_jpeg_that_cannot_be_reduced_keeps_its_pixels() -> None:
    content = encode(photo(400, 300))
    assert not differences(content).any()


@pytest.mark.parametrize("resampler", Resampler)
@pytest.mark.parametrize("rule", ResizeRule)
@pytest.mark.parametrize("size", [(1600, 1200), (1597, 1203)])
def test_pixels_are_close_to_those_of_the_whole_file(
    resampler: Resampler, rule: ResizeRule, size: tuple[int, int]
) -> None:
    content = encode(photo(*size))
    fields: Fields = {"size": [96, 128], "resampler": resampler, "resize": rule}
    assert opened(content, **fields).reduction == 8
    apart = differences(content, **fields)
    assert 0 < apart.mean() < 3.5
    assert np.percentile(apart, 99) < 15


@pytest.mark.parametrize("rule", ResizeRule)
@pytest.mark.parametrize("size", [(1600, 1200), (1599, 1193)])
@pytest.mark.parametrize("orientation", UNDO)
def test_positions_in_the_input_lead_to_the_pixels_of_the_upright_image(
    orientation: int, size: tuple[int, int], rule: ResizeRule
) -> None:
    upright = Image.new("RGB", size)
    ImageDraw.Draw(upright).rectangle((640, 700, 703, 779), "white")
    image = opened(turned(upright, orientation), size=[150, 160], resize=rule, pad_value=0)
    assert (image.reduction, image.size) == (8, size)
    values, placement = image.preprocessed()
    assert placement.image == size
    weights = values[0].clip(0)
    rows, columns = np.indices(weights.shape) + 0.5
    middle = np.array([[np.average(columns, weights=weights), np.average(rows, weights=weights)]])
    found = placement.points_to_image_pixels(middle, clip=False)[0]
    assert found == pytest.approx([672, 740], abs=0.5)


@pytest.mark.parametrize("orientation", UNDO)
def test_the_exif_orientation_is_applied_to_the_pixels(orientation: int) -> None:
    upright = photo(1600, 800)
    image = opened(turned(upright, orientation), size=[100, 200])
    assert (image.reduction, image.pixels.size, image.size) == (8, (200, 100), (1600, 800))
    expected = np.asarray(upright.resize((200, 100), Image.Resampling.BOX), np.float64)
    assert np.abs(np.asarray(image.pixels) - expected).mean() < 2.5


def test_the_axes_of_the_upright_image_decide() -> None:
    lying = turned(Image.new("RGB", (448, 1792)), 6)
    assert opened(lying, size=[224, 56]).reduction == 8
    assert opened(lying, size=[56, 224]).reduction == 2


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
@pytest.mark.parametrize("options", [{"progressive": True}, {"subsampling": 0}, {"subsampling": 2}])
def test_the_colours_of_every_kind_of_jpeg_stay(mode: str, options: Fields) -> None:
    left, right = {"L": (40, 200), "CMYK": ((0, 255, 255, 0), (255, 0, 0, 40)), "RGB": ((255, 0, 0), (30, 90, 200))}[
        mode
    ]
    whole = Image.new(mode, (1024, 768), left)  # type: ignore[arg-type]
    whole.paste(right, (512, 0, 1024, 768))  # type: ignore[arg-type]
    content = encode(whole, **options)
    assert opened(content, size=[64, 64]).reduction == 8
    assert differences(content, size=[64, 64]).max() <= 2


def test_a_jpeg_of_several_images_is_reduced_too() -> None:
    file = io.BytesIO()
    first = photo(1024, 768)
    first.save(file, "MPO", save_all=True, append_images=[Image.new("RGB", (1024, 768))], quality=95)
    with Image.open(file) as written:
        assert written.format == "MPO"
    assert opened(file.getvalue(), size=[64, 64]).reduction == 8
    assert differences(file.getvalue(), size=[64, 64]).mean() < 2.5


def test_the_limit_is_that_of_the_whole_image() -> None:
    content = encode(Image.new("RGB", (1024, 768)))
    assert opened(content, limit=1024 * 768, size=[8, 8]).reduction == 8
    with pytest.raises(FaceterError) as caught:
        opened(content, limit=1024 * 768 - 1, size=[8, 8])
    assert caught.value.kind is ProblemKind.IMAGE_TOO_LARGE
    assert "1024 × 768" in caught.value.detail


def test_a_file_that_is_cut_off_is_refused() -> None:
    content = encode(photo(1024, 768))
    with pytest.raises(FaceterError) as caught:
        opened(content[: len(content) // 2], size=[8, 8])
    assert caught.value.kind is ProblemKind.INVALID_IMAGE
