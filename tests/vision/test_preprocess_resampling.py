"""Laws of preprocessing for every resampler, crop fraction and layout."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from faceter.contracts.preprocessing import ChannelOrder, Interpolation, Preprocessing, Resampler, ResizeRule
from faceter.vision.preprocess import as_dtype, preprocess
from tests.vision.resampling.sample_images import noise, sizes

WAYS = [
    (rule, resampler, fraction)
    for rule in ResizeRule
    for resampler in Resampler
    for fraction in (None, 0.875, 1.0)
    if rule is not ResizeRule.PAD or fraction is None
]
every_way = pytest.mark.parametrize(("rule", "resampler", "fraction"), WAYS)


def preprocessing(**fields: Any) -> Preprocessing:
    return Preprocessing.model_validate({"scale": 1, **fields})


@every_way
@pytest.mark.parametrize("shape", [(300, 200), (200, 301), (64, 64), (500, 131)])
def test_a_drawn_box_is_where_the_placement_says(
    rule: ResizeRule, resampler: Resampler, fraction: float | None, shape: tuple[int, int]
) -> None:
    width, height = shape
    left, top, right, bottom = (round(side) for side in (width * 0.4, height * 0.42, width * 0.6, height * 0.58))
    image = Image.new("RGB", shape)
    ImageDraw.Draw(image).rectangle((left, top, right - 1, bottom - 1), fill="white")
    made = preprocessing(size=[128, 160], resize=rule, resampler=resampler, crop_fraction=fraction, pad_value=0)
    array, placement = preprocess(image, made)
    rows, columns = np.nonzero(array[0] > 127)
    seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    across, down = placement.scale
    x, y = placement.offset
    expected = [left * across + x, top * down + y, right * across + x, bottom * down + y]
    np.testing.assert_allclose(seen, expected, atol=1.01)
    boxes = placement.to_image_pixels(np.array([expected], np.float32))
    np.testing.assert_allclose(boxes, [[left, top, right, bottom]], atol=2e-3)


@settings(deadline=None)
@given(st.sampled_from(WAYS), sizes, sizes)
def test_the_centre_of_the_image_is_the_centre_of_the_input(
    way: tuple[ResizeRule, Resampler, float | None], image: tuple[int, int], size: tuple[int, int]
) -> None:
    rule, resampler, fraction = way
    made = preprocessing(size=[size[1], size[0]], resize=rule, resampler=resampler, crop_fraction=fraction)
    array, placement = preprocess(Image.fromarray(noise(image)), made)
    assert array.shape == (3, size[1], size[0])
    for whole, side, scale, offset in zip(image, size, placement.scale, placement.offset, strict=True):
        # positions are rounded to whole pixels of the input, or of the image where it is cropped first
        assert whole / 2 * scale + offset == pytest.approx(side / 2, abs=max(1.0, scale) + 1e-6)


@every_way
@pytest.mark.parametrize("size", [(1, 200_000), (200_000, 1), (1, 1)])
def test_extreme_aspect_ratios(
    rule: ResizeRule, resampler: Resampler, fraction: float | None, size: tuple[int, int]
) -> None:
    made = preprocessing(size=[32, 48], resize=rule, resampler=resampler, crop_fraction=fraction, pad_value=255)
    array, _ = preprocess(Image.new("RGB", size, "white"), made)
    assert array.shape == (3, 32, 48)
    np.testing.assert_allclose(array, 255, atol=1e-3)


@pytest.mark.parametrize("resampler", Resampler)
@pytest.mark.parametrize("rule", [ResizeRule.CROP, ResizeRule.STRETCH])
@pytest.mark.parametrize("size", [(1, 100_000), (500, 300), (2, 2)])
def test_the_smallest_crop_fraction(rule: ResizeRule, resampler: Resampler, size: tuple[int, int]) -> None:
    made = preprocessing(size=[32, 48], resize=rule, resampler=resampler, crop_fraction=0.01)
    array, _ = preprocess(Image.new("RGB", size, "white"), made)
    np.testing.assert_allclose(array, 255, atol=1e-3)


@every_way
@pytest.mark.parametrize("order", ChannelOrder)
@pytest.mark.parametrize("interpolation", [Interpolation.BILINEAR, Interpolation.BICUBIC])
def test_channels_last_holds_the_same_values(
    rule: ResizeRule, resampler: Resampler, fraction: float | None, order: ChannelOrder, interpolation: Interpolation
) -> None:
    gray = order is ChannelOrder.GRAY
    fields = {
        "size": [20, 30],
        "resize": rule,
        "resampler": resampler,
        "crop_fraction": fraction,
        "channel_order": order,
        "interpolation": interpolation,
        "mean": [100.0] if gray else [90.0, 100.0, 110.0],
        "std": [50.0] if gray else [50.0, 60.0, 70.0],
    }
    image = Image.fromarray(noise((53, 41)))
    first, _ = preprocess(image, preprocessing(**fields, layout="channels_first"))
    last, _ = preprocess(image, preprocessing(**fields, layout="channels_last"))
    assert first.dtype == last.dtype == np.float32
    assert first.flags.c_contiguous
    assert last.flags.c_contiguous
    assert last.shape == preprocessing(**fields, layout="channels_last").shape
    np.testing.assert_array_equal(first.transpose(1, 2, 0), last)


@pytest.mark.parametrize(
    ("resampler", "interpolation"),
    sorted({*itertools.product(Resampler, Interpolation)} - {(Resampler.TORCH, Interpolation.LANCZOS)}),
)
def test_an_image_of_the_right_size_keeps_its_pixels(resampler: Resampler, interpolation: Interpolation) -> None:
    image = noise((9, 6))
    made = preprocessing(size=[6, 9], resampler=resampler, interpolation=interpolation)
    array, _ = preprocess(Image.fromarray(image), made)
    np.testing.assert_array_equal(array, image.transpose(2, 0, 1))


def test_tensorflow_pads_as_it_does() -> None:
    """`tf.image.resize_with_pad`: an image of 7 × 3 in 10 × 10 is 10 × ⌊4.29⌋ with ⌊(10 − 4.29) / 2⌋ rows above."""
    made = preprocessing(size=[10, 10], resize="pad", resampler="tensorflow", pad_value=0)
    array, placement = preprocess(Image.new("RGB", (7, 3), "white"), made)
    assert np.flatnonzero(array[0, :, 0]).tolist() == [2, 3, 4, 5]
    assert placement.offset == (0, 2)


def test_values_of_tensorflow_are_not_rounded() -> None:
    image = Image.fromarray(np.array([[[0, 0, 0], [1, 1, 1]]], np.uint8))
    made = {name: preprocess(image, preprocessing(size=[1, 3], resampler=name))[0][0, 0] for name in Resampler}
    np.testing.assert_allclose(made[Resampler.TENSORFLOW], [0, 0.5, 1], atol=1e-6)
    for name in (Resampler.PILLOW, Resampler.OPENCV, Resampler.TORCH):
        assert set(made[name].tolist()) <= {0.0, 1.0}


def test_whole_numbers_are_rounded_and_clipped() -> None:
    values = np.array([-3.0, 0.4, 0.6, 254.7, 300.0], np.float32)
    assert as_dtype(values, "uint8").tolist() == [0, 0, 1, 255, 255]
    assert as_dtype(values, "uint8").dtype == np.uint8
    assert as_dtype(values, "float16").dtype == np.float16
    assert as_dtype(values, "float32") is values


def test_defaults_are_the_bilinear_filter_of_pillow() -> None:
    image = Image.fromarray(noise((90, 50)))
    bilinear = Image.Resampling.BILINEAR
    page = Image.new("RGB", (32, 24), (114, 114, 114))
    page.paste(image.resize((32, 18), bilinear), (0, 3))
    expected = {
        ResizeRule.STRETCH: image.resize((32, 24), bilinear),
        ResizeRule.CROP: image.resize((32, 24), bilinear, box=(35 / 3, 0, 90 - 35 / 3, 50)),
        ResizeRule.PAD: page,
    }
    for rule, resized in expected.items():
        array, _ = preprocess(image, Preprocessing(size=[24, 32], scale=1, resize=rule))
        np.testing.assert_array_equal(array.transpose(1, 2, 0), np.asarray(resized))
