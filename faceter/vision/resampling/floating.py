"""Resizing in floating point, as TensorFlow and torch do it on the CPU."""

import numpy as np

from faceter.contracts.preprocessing import Interpolation
from faceter.vision.resampling.taps import (
    Axis,
    Taps,
    antialiased,
    cubic,
    interpolated,
    lanczos3,
    overlapping,
    single,
    triangle,
)

_KEYS = cubic(-0.5)
_STEPS = 1024
"""TensorFlow reads the weights of its bicubic kernel from a table with this many steps per pixel."""


def tensorflow_taps(axis: Axis, interpolation: Interpolation, *, antialias: bool) -> Taps:
    """Return the taps of ``tf.image.resize`` (TensorFlow 2: half-pixel centres) along one axis.

    Bilinear repeats the pixel at the edge; all other kernels end there and are normalized. Lanczos has radius 3.
    """
    match interpolation:
        case Interpolation.NEAREST:
            centres = (axis.outputs.astype(np.float32) + np.float32(0.5)) * np.float32(axis.scale)
            return single(np.floor(centres).astype(np.int64), axis.size)
        case Interpolation.AREA:
            return overlapping(axis)
        case Interpolation.LANCZOS:
            return antialiased(axis, lanczos3, 3, grows=antialias)
        case Interpolation.BICUBIC:
            return antialiased(axis, _KEYS, 2) if antialias else _tabulated(axis)
        case Interpolation.BILINEAR:
            return antialiased(axis, triangle, 1) if antialias else interpolated(axis.centres, triangle, 1, axis.size)


def torch_taps(axis: Axis, interpolation: Interpolation, *, antialias: bool) -> Taps:
    """Return the taps of ``torch.nn.functional.interpolate`` along one axis, with ``align_corners=False``.

    Bicubic has the parameter −0.5 with antialiasing and −0.75 without. Area is adaptive average pooling.

    Raises:
        ValueError: For Lanczos, which torch has not.
    """
    match interpolation:
        case Interpolation.NEAREST:
            return single(
                np.floor(axis.outputs.astype(np.float32) * np.float32(axis.scale)).astype(np.int64), axis.size
            )
        case Interpolation.AREA:
            return _pooled(axis)
        case Interpolation.BILINEAR:
            return antialiased(axis, triangle, 1) if antialias else interpolated(axis.centres, triangle, 1, axis.size)
        case Interpolation.BICUBIC:
            return antialiased(axis, _KEYS, 2) if antialias else interpolated(axis.centres, cubic(-0.75), 2, axis.size)
        case Interpolation.LANCZOS:
            raise ValueError("torch has no Lanczos interpolation")


def _tabulated(axis: Axis) -> Taps:
    """Return bicubic taps whose positions are rounded to steps of a table, normalized inside the image."""
    centres = axis.centres
    before = np.floor(centres).astype(np.int64)
    positions = before + np.rint((centres - before) * _STEPS) / _STEPS
    indices = before[:, None] + np.arange(-1, 3)
    inside = (indices >= 0) & (indices < axis.size)
    weights = np.where(inside, _KEYS(np.abs(indices - positions[:, None])), 0.0)
    return Taps(np.clip(indices, 0, axis.size - 1), weights / weights.sum(axis=1, keepdims=True))


def _pooled(axis: Axis) -> Taps:
    start = axis.outputs * axis.size // axis.resized
    end = -(-(axis.outputs + 1) * axis.size // axis.resized)
    indices = start[:, None] + np.arange(int((end - start).max()))
    weights = (indices < end[:, None]) / (end - start)[:, None]
    return Taps(np.clip(indices, 0, axis.size - 1), weights)
