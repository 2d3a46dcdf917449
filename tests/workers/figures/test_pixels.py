"""Preprocessing undone: the pixels that went in come out."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from faceter.contracts.preprocessing import ChannelOrder, Preprocessing
from faceter.vision.preprocess import preprocess
from workers.figures.pixels import to_pixels

per_channel = st.lists(st.floats(-2, 2), min_size=3, max_size=3)
widths = st.lists(st.floats(0.05, 3), min_size=3, max_size=3)


@given(st.sampled_from(["rgb", "bgr"]), st.sampled_from([1 / 255, 1.0, 1 / 128]), per_channel, widths)
def test_all_pixel_values_come_back(order: ChannelOrder, scale: float, mean: list[float], std: list[float]) -> None:
    preprocessing = Preprocessing(size=[16, 16], channel_order=order, scale=scale, mean=mean, std=std)
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    pixels = np.stack([values, values[::-1], values.T], axis=2)
    inputs, _ = preprocess(Image.fromarray(pixels), preprocessing)
    np.testing.assert_array_equal(to_pixels(inputs[None], preprocessing)[0], pixels.transpose(2, 0, 1))


def test_gray_stays_one_channel() -> None:
    preprocessing = Preprocessing(size=[4, 4], channel_order=ChannelOrder.GRAY, mean=[0.3], std=[0.35])
    values = np.arange(16, dtype=np.uint8).reshape(4, 4) * 17
    inputs, _ = preprocess(Image.fromarray(np.stack([values] * 3, axis=2)), preprocessing)
    np.testing.assert_array_equal(to_pixels(inputs[None], preprocessing), values[None, None])


def test_what_no_pixel_has_is_cut_off() -> None:
    preprocessing = Preprocessing(size=[1, 4], channel_order=ChannelOrder.GRAY)
    inputs = np.array([-3.0, 0.5, 7.0, np.nan]).reshape(1, 1, 1, 4)
    assert to_pixels(inputs, preprocessing).reshape(-1).tolist() == [0, 128, 255, 0]
