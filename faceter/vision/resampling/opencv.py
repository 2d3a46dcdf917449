"""Resizing of 8-bit images as ``cv2.resize`` does it on the CPU.

Bilinear and Lanczos are computed in fixed point with weights of 11 bits, as in ``modules/imgproc/src/resize.cpp``;
results are equal. Bicubic is computed in floating point, as OpenCV's packages for x86 do by Intel's IPP; other builds
differ by one in some pixels.

Where OpenCV is installed (extra ``opencv``), it resizes itself with the interpolations that are equal to the last bit.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.preprocessing import Interpolation
from faceter.vision.resampling.taps import Axis, Pixels, Taps, cubic, interpolated, overlapping, resampled, single

_ONE = 1 << 11
_CUBIC = cubic(-0.75)
_LANCZOS_RADIUS = 4
_MODES = {
    Interpolation.NEAREST: "INTER_NEAREST",
    Interpolation.BILINEAR: "INTER_LINEAR",
}
"""Interpolations whose results are the same in every build of OpenCV, and here."""
_MOST_PIXELS = 1 << 26
"""Of an image that OpenCV resizes as a whole, to cut out a part."""


def opencv_resize(pixels: Pixels, rows: Axis, columns: Axis, interpolation: Interpolation) -> Pixels:
    """Return the resized image, uint8 [rows.count, columns.count, C].

    Args:
        pixels: uint8 [H, W, C].
        rows: Vertical axis.
        columns: Horizontal axis.
        interpolation: As ``INTER_NEAREST``, ``INTER_LINEAR``, ``INTER_CUBIC``, ``INTER_LANCZOS4`` or ``INTER_AREA``,
            which interpolates if an axis is enlarged.
    """
    library = opencv()
    if library is not None and interpolation in _MODES and rows.resized * columns.resized <= _MOST_PIXELS:
        mode = getattr(library, _MODES[interpolation])
        resized = library.resize(np.ascontiguousarray(pixels), (columns.resized, rows.resized), interpolation=mode)
        whole: Pixels = resized.reshape(rows.resized, columns.resized, pixels.shape[2])
        return whole[rows.first : rows.first + rows.count, columns.first : columns.first + columns.count]
    return computed_resize(pixels, rows, columns, interpolation)


@cache
def opencv() -> Any:
    """Return the module ``cv2``, set to one thread for each call; None if it is not installed."""
    try:
        module = importlib.import_module("cv2")
    except ImportError:
        return None
    module.setNumThreads(1)
    return module


def computed_resize(pixels: Pixels, rows: Axis, columns: Axis, interpolation: Interpolation) -> Pixels:
    """Return what `opencv_resize` returns, without OpenCV."""
    match interpolation:
        case Interpolation.NEAREST:
            return np.asarray(resampled(pixels, _nearest(rows), _nearest(columns), dtype=np.uint8), np.uint8)
        case Interpolation.BILINEAR:
            return _linear(pixels, rows, columns, area=False)
        case Interpolation.BICUBIC:
            taps = [interpolated(axis.centres, _CUBIC, 2, axis.size) for axis in (rows, columns)]
            return _rounded(resampled(pixels, *taps))
        case Interpolation.LANCZOS:
            sums = resampled(pixels, _lanczos(rows), _lanczos(columns), dtype=np.int64)
            return np.asarray(np.clip((sums + _ONE * _ONE // 2) // (_ONE * _ONE), 0, 255), np.uint8)
        case Interpolation.AREA:
            if rows.scale < 1 or columns.scale < 1:
                return _linear(pixels, rows, columns, area=True)
            means = resampled(pixels, overlapping(rows), overlapping(columns))
            halves = rows.scale == columns.scale == 2
            return np.floor(means + 0.5).astype(np.uint8) if halves else _rounded(means)


def _rounded(values: NDArray[Any]) -> Pixels:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


def _scale(axis: Axis) -> float:
    """Return ``axis.scale`` with OpenCV's rounding: the reciprocal of the reciprocal."""
    return 1 / (axis.resized / axis.size)


def _nearest(axis: Axis) -> Taps:
    taps = single(np.floor(axis.outputs * _scale(axis)).astype(np.int64), axis.size)
    return Taps(taps.indices, taps.weights.astype(np.uint8))


def _linear(pixels: Pixels, rows: Axis, columns: Axis, *, area: bool) -> Pixels:
    """Interpolate in fixed point; vertical sums drop 4 bits of a row before and 16 after the weight."""
    first, weight = _position(columns, area=area)
    beyond = (first < 0) | (first >= columns.size - 1)
    across = _pair(first, np.where(beyond, np.float32(0), weight), columns.size)
    down = _pair(*_position(rows, area=area), rows.size)
    used, positions = np.unique(down.indices, return_inverse=True)
    unchanged = single(np.arange(len(used)), len(used))
    values = resampled(pixels[used], unchanged, across, dtype=np.int32) >> 4
    positions = positions.reshape(down.indices.shape)
    parts = [(values[positions[:, tap]] * down.weights[:, tap, None, None].astype(np.int32)) >> 16 for tap in (0, 1)]
    return np.asarray((parts[0] + parts[1] + 2) >> 2, np.uint8)


def _position(axis: Axis, *, area: bool) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the pixel before each output and the weight of the next one, in single precision as OpenCV."""
    if area:
        before = np.floor(axis.outputs * _scale(axis)).astype(np.int64)
        weight = ((axis.outputs + 1) - (before + 1) * (axis.resized / axis.size)).astype(np.float32)
        return before, np.where(weight <= 0, np.float32(0), weight - np.floor(weight))
    centres = ((axis.outputs + 0.5) * _scale(axis) - 0.5).astype(np.float32)
    return np.floor(centres).astype(np.int64), centres - np.floor(centres)


def _pair(before: NDArray[np.int64], weight: NDArray[np.float32], size: int) -> Taps:
    indices = np.clip(before[:, None] + np.arange(2), 0, size - 1)
    return Taps(indices, _fixed(np.stack([np.float32(1) - weight, weight], axis=1)))


def _fixed(weights: NDArray[np.float32]) -> NDArray[np.int64]:
    return np.asarray(np.rint(weights * np.float32(_ONE)), np.int64)


def _lanczos(axis: Axis) -> Taps:
    """Return the 8 taps of ``INTER_LANCZOS4``, normalized in single precision, then rounded to 11 bits."""
    before, fraction = _position(axis, area=False)
    distances = fraction[:, None] + np.arange(_LANCZOS_RADIUS - 1, -_LANCZOS_RADIUS - 1, -1, dtype=np.float32)
    exact = np.abs(distances) < 1e-6
    angles = distances.astype(np.float64) * np.pi / _LANCZOS_RADIUS
    shape = np.sin(np.pi * distances.astype(np.float64)) * np.sin(angles)
    weights = np.where(exact, 1e30, shape / np.where(exact, 1, angles**2)).astype(np.float32)
    weights *= np.float32(1) / weights.sum(axis=1, keepdims=True)
    indices = before[:, None] + np.arange(1 - _LANCZOS_RADIUS, _LANCZOS_RADIUS + 1)
    return Taps(np.clip(indices, 0, axis.size - 1), _fixed(weights))
