import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from faceter.contracts.preprocessing import ChannelOrder, Preprocessing, ResizeRule
from faceter.vision.boxes import FloatArray
from faceter.vision.preprocess import Placement, preprocess

RULES = list(ResizeRule)


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def test_values_are_exactly_the_formula() -> None:
    image = noise(7, 5)
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    array, _ = preprocess(image, Preprocessing(size=[5, 7], scale=1 / 255, mean=mean, std=std))
    exact = (np.asarray(image, np.float64) / 255 - mean) / std
    assert array.dtype == np.float32
    assert array.flags.c_contiguous
    np.testing.assert_allclose(array, exact.transpose(2, 0, 1), rtol=1e-7)


def test_a_single_mean_and_std_apply_to_every_channel() -> None:
    array, _ = preprocess(noise(4, 4), Preprocessing(size=[4, 4], scale=1, mean=[127.5], std=[127.5]))
    np.testing.assert_array_equal(array, ((np.asarray(noise(4, 4), np.float32) - 127.5) / 127.5).transpose(2, 0, 1))


def test_channel_orders() -> None:
    red = Image.new("RGB", (2, 2), (255, 0, 0))

    def channels(order: ChannelOrder) -> list[float]:
        array, _ = preprocess(red, Preprocessing(size=[2, 2], scale=1, channel_order=order))
        return [float(value) for value in array[:, 0, 0]]

    assert channels(ChannelOrder.RGB) == [255, 0, 0]
    assert channels(ChannelOrder.BGR) == [0, 0, 255]
    assert channels(ChannelOrder.GRAY) == [76]  # ITU-R 601-2: 0.299 · 255


@pytest.mark.parametrize("rule", RULES)
def test_an_image_of_the_right_size_keeps_its_pixels(rule: ResizeRule) -> None:
    array, placement = preprocess(noise(9, 6), Preprocessing(size=[6, 9], scale=1, resize=rule))
    np.testing.assert_array_equal(array, np.asarray(noise(9, 6), np.float32).transpose(2, 0, 1))
    assert placement == Placement((1.0, 1.0), (0.0, 0.0), (9, 6))


def test_crop_keeps_the_centre() -> None:
    image = noise(12, 6)
    array, _ = preprocess(image, Preprocessing(size=[6, 6], scale=1, resize=ResizeRule.CROP))
    np.testing.assert_array_equal(array, np.asarray(image, np.float32)[:, 3:9].transpose(2, 0, 1))


def test_pad_fills_the_margin() -> None:
    array, placement = preprocess(
        Image.new("RGB", (40, 20), "white"), Preprocessing(size=[20, 20], scale=1, resize=ResizeRule.PAD, pad_value=7)
    )
    assert (array[:, 5:15] == 255).all()
    assert (array[:, :5] == 7).all()
    assert (array[:, 15:] == 7).all()
    assert placement == Placement((0.5, 0.5), (0.0, 5.0), (40, 20))


@pytest.mark.parametrize("rule", RULES)
def test_downscaling_is_antialiased(rule: ResizeRule) -> None:
    stripes = Image.fromarray(np.tile(np.array([0, 255], np.uint8)[None, :, None], (64, 32, 3)))
    array, _ = preprocess(stripes, Preprocessing(size=[8, 8], scale=1, resize=rule))
    assert array.std() < 4
    assert abs(array.mean() - 127.5) < 2


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("size", [(1, 200_000), (200_000, 1), (1, 1)])
def test_extreme_aspect_ratios_take_no_more_memory_than_the_input(rule: ResizeRule, size: tuple[int, int]) -> None:
    array, _ = preprocess(
        Image.new("RGB", size, "white"), Preprocessing(size=[32, 48], scale=1, resize=rule, pad_value=255)
    )
    assert array.shape == (3, 32, 48)
    assert (array == 255).all()


def to_input_pixels(placement: Placement, boxes: FloatArray) -> FloatArray:
    """Return boxes of the image in the input's pixels: input = image · scale + offset."""
    return np.asarray(boxes) * [*placement.scale, *placement.scale] + [*placement.offset, *placement.offset]


sizes = st.tuples(st.integers(1, 400), st.integers(1, 400))


@settings(deadline=None)
@given(st.sampled_from(RULES), sizes, sizes, st.data())
def test_boxes_survive_the_round_trip(
    rule: ResizeRule, image: tuple[int, int], size: tuple[int, int], data: st.DataObject
) -> None:
    _, placement = preprocess(Image.new("RGB", image), Preprocessing(size=list(size), resize=rule))
    x = sorted(data.draw(st.lists(st.floats(0, image[0]), min_size=2, max_size=2)))
    y = sorted(data.draw(st.lists(st.floats(0, image[1]), min_size=2, max_size=2)))
    boxes = np.array([[x[0], y[0], x[1], y[1]]])
    np.testing.assert_allclose(
        placement.to_image_pixels(to_input_pixels(placement, boxes)), boxes, rtol=1e-4, atol=2e-3
    )


@settings(deadline=None)
@given(st.sampled_from(RULES), sizes, sizes)
def test_the_image_fills_the_input_as_its_rule_says(
    rule: ResizeRule, image: tuple[int, int], size: tuple[int, int]
) -> None:
    height, width = size
    _, placement = preprocess(Image.new("RGB", image), Preprocessing(size=[height, width], resize=rule))
    left, top, right, bottom = to_input_pixels(placement, np.array([[0, 0, *image]]))[0]
    if rule is ResizeRule.STRETCH:
        np.testing.assert_allclose([left, top, right, bottom], [0, 0, width, height], atol=1e-3)
    elif rule is ResizeRule.CROP:
        assert left <= 1e-3
        assert top <= 1e-3
        assert right >= width - 1e-2
        assert bottom >= height - 1e-2
        assert left + right == pytest.approx(width, abs=0.02)
    else:
        assert left >= 0
        assert top >= 0
        assert right <= width + 1e-3
        assert bottom <= height + 1e-3


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("shape", [(300, 200), (200, 300), (64, 64), (500, 130)])
def test_a_drawn_box_is_where_the_placement_says(rule: ResizeRule, shape: tuple[int, int]) -> None:
    width, height = shape
    drawn = np.array([[width * 0.4, height * 0.42, width * 0.6, height * 0.58]]).round()
    image = Image.new("RGB", shape)
    left, top, right, bottom = (int(value) for value in drawn[0])
    ImageDraw.Draw(image).rectangle((left, top, right - 1, bottom - 1), fill="white")
    array, placement = preprocess(image, Preprocessing(size=[128, 160], scale=1, resize=rule, pad_value=0))
    rows, columns = np.nonzero(array[0] > 127)
    seen = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]])
    np.testing.assert_allclose(to_input_pixels(placement, drawn), seen, atol=1.01)


def test_boxes_are_clipped_to_the_image_by_default() -> None:
    placement = Placement((0.5, 0.5), (0.0, 5.0), (40, 20))
    beyond = np.array([[-10.0, 0.0, 30.0, 30.0]])
    assert placement.to_image_pixels(beyond).tolist() == [[0, 0, 40, 20]]
    assert placement.to_image_pixels(beyond, clip=False).tolist() == [[-20, -10, 60, 50]]


@pytest.mark.parametrize("rule", RULES)
def test_an_empty_set_of_boxes(rule: ResizeRule) -> None:
    _, placement = preprocess(noise(5, 9), Preprocessing(size=[8, 8], resize=rule))
    assert placement.to_image_pixels(np.zeros((0, 4), np.float32)).shape == (0, 4)
