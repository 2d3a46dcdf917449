"""Resampling along one axis as a weighted sum of input pixels, and its use on both axes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]

_BLOCK_VALUES = 1 << 20
"""Values of an image that are converted at a time."""


@dataclass(frozen=True)
class Taps:
    """Input pixels and weights of each output pixel along one axis.

    Args:
        indices: int64 [outputs, taps].
        weights: [outputs, taps]: float64, or int64 in fixed point.
    """

    indices: NDArray[np.int64]
    weights: NDArray[Any]


@dataclass(frozen=True)
class Axis:
    """An axis to resample.

    Args:
        size: Pixels of the input.
        resized: Pixels of the whole output.
        first: First output pixel that is wanted.
        count: Number of output pixels that are wanted.
    """

    size: int
    resized: int
    first: int
    count: int

    @property
    def outputs(self) -> NDArray[np.int64]:
        """Numbers of the wanted output pixels, int64 [count]."""
        return np.arange(self.first, self.first + self.count, dtype=np.int64)

    @property
    def scale(self) -> float:
        """Input pixels per output pixel."""
        return self.size / self.resized

    @property
    def centres(self) -> Floats:
        """Positions of the wanted pixels in the input; 0 is the centre of its first pixel (half-pixel centres)."""
        return np.asarray((self.outputs + 0.5) * self.scale - 0.5)


def resampled(pixels: NDArray[Any], rows: Taps, columns: Taps, *, dtype: type[np.generic] = np.float64) -> NDArray[Any]:
    """Return the weighted sums along columns, then along rows.

    Args:
        pixels: [H, W, C].
        rows: Taps of the vertical axis.
        columns: Taps of the horizontal axis.
        dtype: Type in which sums are computed.
    """
    used, positions = np.unique(rows.indices, return_inverse=True)
    width, channels = pixels.shape[1:]
    matrix = _matrix(columns.indices, columns.weights, width, dtype)
    across = np.empty((len(used), len(columns.indices), channels), dtype)
    block = max(1, _BLOCK_VALUES // (width * channels))
    for start in range(0, len(used), block):
        part = pixels[used[start : start + block]]
        by_column = part.swapaxes(0, 1).astype(dtype, order="C").reshape(width, -1)
        summed = (matrix @ by_column).reshape(-1, len(part), channels)
        across[start : start + block] = summed.swapaxes(0, 1)
    down = _matrix(positions.reshape(rows.indices.shape), rows.weights, len(used), dtype)
    return np.asarray(down @ across.reshape(len(used), -1)).reshape(-1, *across.shape[1:])


def _matrix(indices: NDArray[np.int64], weights: NDArray[Any], size: int, dtype: type[np.generic]) -> csr_array:
    """Return the taps as a sparse matrix [outputs, size]."""
    starts = np.arange(0, indices.size + 1, indices.shape[1])
    entries = (weights.astype(dtype).ravel(), indices.ravel(), starts)
    return csr_array(entries, shape=(len(indices), size))  # type: ignore[no-untyped-call]


def single(indices: NDArray[np.int64], size: int) -> Taps:
    """Return taps of weight 1 at the given pixels."""
    return Taps(np.clip(indices, 0, size - 1)[:, None], np.ones((len(indices), 1)))


def antialiased(axis: Axis, kernel: Callable[[Floats], Floats], radius: float, *, grows: bool = True) -> Taps:
    """Return normalized taps of a kernel; beyond the edges of the image weights are 0.

    Args:
        axis: The axis.
        kernel: Weight by distance, 0 from ``radius`` on.
        radius: Of the kernel, in input pixels.
        grows: Whether the kernel is stretched by ``axis.scale`` where an image shrinks.
    """
    stretch = max(axis.scale, 1.0) if grows else 1.0
    centres = axis.centres
    count = min(2 * int(np.ceil(radius * stretch)) + 1, axis.size)
    first = np.clip(np.ceil(centres - radius * stretch).astype(np.int64), 0, axis.size - count)
    indices = first[:, None] + np.arange(count)
    weights = kernel(np.abs(indices - centres[:, None]) / stretch)
    return Taps(indices, weights / weights.sum(axis=1, keepdims=True))


def interpolated(positions: Floats, kernel: Callable[[Floats], Floats], radius: int, size: int) -> Taps:
    """Return the 2 · ``radius`` taps around each position; beyond the edges the pixel at the edge is repeated."""
    before = np.floor(positions).astype(np.int64)
    indices = before[:, None] + np.arange(1 - radius, radius + 1)
    return Taps(np.clip(indices, 0, size - 1), kernel(np.abs(indices - positions[:, None])))


def overlapping(axis: Axis) -> Taps:
    """Return the share of each input pixel in the area that an output pixel covers."""
    start, end = axis.outputs * axis.scale, (axis.outputs + 1) * axis.scale
    count = int(np.ceil(axis.scale)) + 1
    indices = np.floor(start).astype(np.int64)[:, None] + np.arange(count)
    shares = np.minimum(indices + 1, end[:, None]) - np.maximum(indices, start[:, None])
    weights = np.where(indices < axis.size, np.clip(shares, 0, None), 0)
    return Taps(np.clip(indices, 0, axis.size - 1), weights / weights.sum(axis=1, keepdims=True))


def triangle(distance: Floats) -> Floats:
    """Bilinear kernel of radius 1."""
    return np.clip(1 - distance, 0, None)


def cubic(a: float) -> Callable[[Floats], Floats]:
    """Return Keys' cubic convolution kernel of radius 2 with the parameter ``a``.

    References:
        Keys, "Cubic convolution interpolation for digital image processing", IEEE TASSP 1981.
    """

    def kernel(distance: Floats) -> Floats:
        near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
        far = (((distance - 5) * distance + 8) * distance - 4) * a
        return np.where(distance < 1, near, np.where(distance < 2, far, 0.0))

    return kernel


def lanczos3(distance: Floats) -> Floats:
    """Lanczos kernel of radius 3."""
    return np.where(distance < 3, np.sinc(distance) * np.sinc(distance / 3), 0.0)
