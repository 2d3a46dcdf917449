"""Converts an image to a model's input, and boxes from input pixels to image pixels."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image

from faceter.contracts.models import ChannelOrder, Preprocessing, ResizeRule
from faceter.vision.boxes import FloatArray


@dataclass(frozen=True)
class Placement:
    """Position of an image within a model's input: input = image · scale + offset, per axis.

    Coordinates are in pixels, x before y; 0 is the left top corner of the left top pixel.
    """

    scale: tuple[float, float]
    """Input pixels per image pixel in x and y."""
    offset: tuple[float, float]
    """The image's left top corner in the input, pixels; negative if the image was cropped."""
    image: tuple[int, int]
    """Width and height of the image, pixels."""

    def to_image_pixels(self, boxes: FloatArray, *, clip: bool = True) -> FloatArray:
        """Map boxes from input pixels to image pixels.

        Args:
            boxes: float [n, 4]: left, top, right, bottom in input pixels.
            clip: Whether to clip them to the image.

        Returns:
            float32 [n, 4] in image pixels.
        """
        mapped = (np.asarray(boxes, np.float64) - [*self.offset, *self.offset]) / [*self.scale, *self.scale]
        if clip:
            width, height = self.image
            mapped = np.clip(mapped, 0, [width, height, width, height])
        return mapped.astype(np.float32)


def preprocess(image: Image.Image, preprocessing: Preprocessing) -> tuple[FloatArray, Placement]:
    """Convert an image to a model's input.

    Resizing uses Pillow's bilinear filter with antialiasing (its support grows when it shrinks an image). An image that
    already has the size keeps its pixels. Every value is the float32 nearest to (pixel · scale − mean) / std.

    Args:
        image: An image of mode RGB, as from ``open_rgb_image``.
        preprocessing: Size, resize rule, channels and normalization.

    Returns:
        float32 [C, H, W], and the position of the image in it.
    """
    if preprocessing.channel_order is ChannelOrder.GRAY:
        image = image.convert("L")
    resized, placement = _resize(image, preprocessing)
    pixels = np.asarray(resized, np.uint8).reshape(*preprocessing.size, preprocessing.channels).transpose(2, 0, 1)
    if preprocessing.channel_order is ChannelOrder.BGR:
        pixels = pixels[::-1]
    table = value_table(preprocessing)
    return np.stack([np.take(values, channel) for values, channel in zip(table, pixels, strict=True)]), placement


def value_table(preprocessing: Preprocessing) -> FloatArray:
    """Return float32 [channels, 256]: the input value of each of the 256 pixel values, in the model's channel order."""
    return _value_table(
        preprocessing.scale, tuple(preprocessing.mean), tuple(preprocessing.std), preprocessing.channels
    )


@lru_cache(maxsize=64)
def _value_table(scale: float, mean: tuple[float, ...], std: tuple[float, ...], channels: int) -> FloatArray:
    pixels = np.arange(256, dtype=np.float64)
    means = np.broadcast_to(np.array(mean), channels)[:, None]
    stds = np.broadcast_to(np.array(std), channels)[:, None]
    table: FloatArray = ((pixels * scale - means) / stds).astype(np.float32)
    return table


def _resize(image: Image.Image, preprocessing: Preprocessing) -> tuple[Image.Image, Placement]:
    height, width = preprocessing.size
    size = image.size
    ratios = (width / size[0], height / size[1])
    if preprocessing.resize is ResizeRule.STRETCH:
        resized = image.resize((width, height), Image.Resampling.BILINEAR)
        return resized, Placement(ratios, (0.0, 0.0), size)
    if preprocessing.resize is ResizeRule.CROP:
        return _crop(image, (width, height), max(ratios))
    return _pad(image, (width, height), min(ratios), preprocessing.pad_value)


def _crop(image: Image.Image, size: tuple[int, int], scale: float) -> tuple[Image.Image, Placement]:
    """Resize only the visible part, so that an image of extreme aspect ratio is never scaled as a whole."""
    visible = [min(side / scale, whole) for side, whole in zip(size, image.size, strict=True)]
    start = [(whole - side) / 2 for whole, side in zip(image.size, visible, strict=True)]
    box = (start[0], start[1], min(start[0] + visible[0], image.width), min(start[1] + visible[1], image.height))
    resized = image.resize(size, Image.Resampling.BILINEAR, box=box)
    return resized, Placement((scale, scale), (-start[0] * scale, -start[1] * scale), image.size)


def _pad(image: Image.Image, size: tuple[int, int], scale: float, value: int) -> tuple[Image.Image, Placement]:
    width, height = (max(1, min(side, round(whole * scale))) for side, whole in zip(size, image.size, strict=True))
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    page = Image.new(image.mode, size, value if image.mode == "L" else (value, value, value))
    page.paste(image.resize((width, height), Image.Resampling.BILINEAR), (left, top))
    return page, Placement((width / image.width, height / image.height), (float(left), float(top)), image.size)
