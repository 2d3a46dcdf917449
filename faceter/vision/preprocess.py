"""Converts an image to a model's input, and boxes from input pixels to image pixels."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from faceter.contracts.preprocessing import ChannelOrder, Preprocessing, Resampler
from faceter.vision.boxes import FloatArray
from faceter.vision.resampling.floating import tensorflow_taps, torch_taps
from faceter.vision.resampling.opencv import opencv_resize
from faceter.vision.resampling.pillow import pillow_resize
from faceter.vision.resampling.plan import ResizePlan, resize_plan
from faceter.vision.resampling.taps import Axis, resampled


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

    def points_to_image_pixels(self, points: FloatArray, *, clip: bool = True) -> FloatArray:
        """Map points from input pixels to image pixels.

        Args:
            points: float [..., 2 or more]: x and y in input pixels; further values are kept.
            clip: Whether to clip x and y to the image.

        Returns:
            float32 of the same shape, x and y in image pixels.
        """
        mapped = np.array(points, np.float64)
        mapped[..., :2] = (mapped[..., :2] - self.offset) / self.scale
        if clip:
            mapped[..., :2] = np.clip(mapped[..., :2], 0, self.image)
        return mapped.astype(np.float32)


def preprocess(image: Image.Image, preprocessing: Preprocessing) -> tuple[FloatArray, Placement]:
    """Convert an image to a model's input.

    The image is resized as the library of ``preprocessing.resampler`` does it. Every value is the float32 nearest to
    (pixel · scale − mean) / std. An image that already has the size keeps its pixels.

    Args:
        image: An image of mode RGB, as from ``open_rgb_image``.
        preprocessing: Size, resampling, channels, normalization and layout.

    Returns:
        float32 of ``preprocessing.shape``, [C, H, W] or [H, W, C], and the position of the image in it.
    """
    if preprocessing.channel_order is ChannelOrder.GRAY:
        image = image.convert("L")
    plan = resize_plan(image.size, preprocessing)
    pixels = _placed(_resized(image, plan, preprocessing), plan, preprocessing)
    if preprocessing.channel_order is ChannelOrder.BGR:
        pixels = pixels[:, :, ::-1]
    values = _values(pixels, preprocessing)
    return values, Placement(plan.scale, plan.offset, image.size)


def as_dtype(values: FloatArray, dtype: str) -> NDArray[Any]:
    """Return input values in the dtype of a model's input; integers are rounded and clipped to 0 … 255.

    Args:
        values: As from `preprocess`, of any shape.
        dtype: NumPy's name of a float type, or ``uint8``.
    """
    if np.dtype(dtype).kind == "f":
        return values.astype(dtype, copy=False)
    return np.clip(np.rint(values), 0, 255).astype(dtype)


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


def _resized(image: Image.Image, plan: ResizePlan, preprocessing: Preprocessing) -> NDArray[Any]:
    """Return the kept part of the resized image, [h, w, C]: uint8, or float32 where values are not rounded."""
    interpolation = preprocessing.interpolation
    if preprocessing.resampler is Resampler.PILLOW:
        resized = pillow_resize(image, plan, interpolation)
        return np.asarray(resized, np.uint8).reshape(resized.height, resized.width, preprocessing.channels)
    source, kept = plan.source, plan.kept
    left, top, width, height = (int(side) for side in (source.left, source.top, source.width, source.height))
    pixels = np.asarray(image, np.uint8).reshape(image.height, image.width, preprocessing.channels)
    pixels = pixels[top : top + height, left : left + width]
    if plan.resized == (width, height):
        first, above = int(kept.left), int(kept.top)
        return pixels[above : above + int(kept.height), first : first + int(kept.width)]
    columns = Axis(width, plan.resized[0], int(kept.left), int(kept.width))
    rows = Axis(height, plan.resized[1], int(kept.top), int(kept.height))
    if preprocessing.resampler is Resampler.OPENCV:
        return opencv_resize(pixels, rows, columns, interpolation)
    torch = preprocessing.resampler is Resampler.TORCH
    taps_of = torch_taps if torch else tensorflow_taps
    taps = [taps_of(axis, interpolation, antialias=preprocessing.antialias) for axis in (rows, columns)]
    values = resampled(pixels, *taps)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8) if torch else values.astype(np.float32)


def _placed(pixels: NDArray[Any], plan: ResizePlan, preprocessing: Preprocessing) -> NDArray[Any]:
    """Return pixels [H, W, C] with the margin that padding leaves."""
    if pixels.shape[:2] == tuple(preprocessing.size):
        return pixels
    left, top = plan.position
    height, width = pixels.shape[:2]
    page = np.full((*preprocessing.size, preprocessing.channels), preprocessing.pad_value, pixels.dtype)
    page[top : top + height, left : left + width] = pixels
    return page


def _values(pixels: NDArray[Any], preprocessing: Preprocessing) -> FloatArray:
    """Return normalized pixels [H, W, C] in the layout of the input, float32."""
    if pixels.dtype == np.uint8:
        result = np.empty(preprocessing.shape, np.float32)
        planes = result.transpose(2, 0, 1) if preprocessing.channels_last else result
        for table, channel, plane in zip(value_table(preprocessing), pixels.transpose(2, 0, 1), planes, strict=True):
            np.take(table, channel, out=plane, mode="clip")  # other modes copy the result; no index is out of range
        return result
    mean, std = (np.asarray(numbers, np.float64) for numbers in (preprocessing.mean, preprocessing.std))
    values: FloatArray = ((pixels.astype(np.float64) * preprocessing.scale - mean) / std).astype(np.float32)
    return values if preprocessing.channels_last else np.ascontiguousarray(values.transpose(2, 0, 1))
