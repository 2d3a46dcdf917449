"""Seeded noise shaped like a model's inputs, for models without calibration data.

Images are not white noise, which excites no features, but have the 1/f spectrum of photographs, random in colour and
contrast over the whole pixel range, and pass the model's preprocessing. Other float inputs are N(0, 1); token ids are
uniform over the rows of the table they index.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import Preprocessing, TensorSpec
from faceter.graphs.view import GraphView
from workers.model_input import Batch

_DYNAMIC_SIZE = 32


def noise_images(count: int, channels: int, height: int, width: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return images [count, channels, height, width] of 1/f noise with pixel values 0 to 255.

    Every image has its own mean in 0.25…0.75 and contrast; its channels are correlated.
    """
    fy, fx = np.meshgrid(np.fft.fftfreq(height), np.fft.rfftfreq(width), indexing="ij")
    radius = np.hypot(fy, fx)
    radius[0, 0] = 1.0
    amplitude = 1.0 / radius
    amplitude[0, 0] = 0.0
    white = rng.normal(size=(count, channels + 1, height, width))
    coloured = np.fft.irfft2(np.fft.rfft2(white) * amplitude, s=(height, width))
    spread = coloured.std(axis=(2, 3), keepdims=True)
    coloured /= np.where(spread > 0, spread, 1.0)
    images = 0.9 * coloured[:, :1] + 0.436 * coloured[:, 1:]
    contrast = rng.uniform(0.08, 0.32, size=(count, 1, 1, 1))
    brightness = rng.uniform(0.25, 0.75, size=(count, 1, 1, 1)) + rng.normal(0, 0.08, size=(count, channels, 1, 1))
    return np.asarray(255 * np.clip(brightness + contrast * images, 0, 1), np.float32)


def concrete_shape(spec: TensorSpec, preprocessing: Preprocessing | None, batch: int) -> list[int]:
    """Return the shape of an input with all dynamic sizes filled in.

    The first axis gets ``batch``, those of an image its size, others 32.
    """
    shape: list[int] = []
    for axis, size in enumerate(spec.shape):
        if isinstance(size, int):
            shape.append(size)
        elif axis == 0:
            shape.append(batch)
        elif preprocessing is not None and len(spec.shape) == 4:
            shape.append([preprocessing.channels, *preprocessing.size][axis - 1])
        else:
            shape.append(_DYNAMIC_SIZE)
    return shape


def noise_batches(
    model: ModelProto,
    inputs: Sequence[TensorSpec],
    preprocessing: Preprocessing | None,
    *,
    samples: int,
    batch: int,
    seed: int,
) -> Iterator[Batch]:
    """Yield batches of noise, ``samples`` in all; the last may be smaller.

    Args:
        model: The model, for the number of rows of embedding tables.
        batch: Batch size; a fixed batch size of the model takes precedence.

    Raises:
        FaceterError: ``INVALID_INPUT`` for an input type without noise, such as strings.
    """
    rng = np.random.default_rng(seed)
    view = GraphView(model)
    fixed = [spec.shape[0] for spec in inputs if spec.shape and isinstance(spec.shape[0], int)]
    size = fixed[0] if fixed else batch
    yielded = 0
    while yielded < samples:
        count = size if fixed else min(size, samples - yielded)
        yield {spec.name: _noise(spec, view, preprocessing, count, rng) for spec in inputs}
        yielded += count


def _noise(
    spec: TensorSpec, view: GraphView, preprocessing: Preprocessing | None, count: int, rng: np.random.Generator
) -> NDArray[np.generic]:
    shape = concrete_shape(spec, preprocessing, count)
    dtype = np.dtype(spec.dtype) if spec.dtype != "object" else None
    if dtype is None or dtype.kind not in "fiub":
        raise FaceterError(
            ProblemKind.INVALID_INPUT, f"There is no noise for the input {spec.name!r} of type {spec.dtype}."
        )
    if takes_images(spec, preprocessing) and preprocessing is not None:
        channels, height, width = shape[1:]
        images = noise_images(count, channels, height, width, rng)
        return normalized(images, preprocessing).astype(dtype)
    if dtype.kind == "f":
        return rng.normal(size=shape).astype(dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, size=shape).astype(dtype)
    return rng.integers(0, _rows(spec.name, view), size=shape).astype(dtype)


def takes_images(spec: TensorSpec, preprocessing: Preprocessing | None) -> bool:
    """Return whether ``preprocessing`` makes this input from an image."""
    if preprocessing is None or len(spec.shape) != 4:
        return False
    return preprocessing.input in (None, spec.name)


def normalized(images: NDArray[np.float32], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Return (pixel · scale − mean) / std for images [N, C, H, W] in the model's channel order."""
    mean, std = (np.reshape(np.asarray(v, np.float32), (1, -1, 1, 1)) for v in (preprocessing.mean, preprocessing.std))
    return np.asarray((images * np.float32(preprocessing.scale) - mean) / std, np.float32)


def pixel_range(preprocessing: Preprocessing) -> tuple[float, float]:
    """Return the smallest and largest value of an image after preprocessing."""
    ends = [
        (pixel * preprocessing.scale - mean) / std
        for pixel in (0, 255)
        for mean, std in np.broadcast(np.asarray(preprocessing.mean), np.asarray(preprocessing.std))
    ]
    return float(min(ends)), float(max(ends))


def _rows(name: str, view: GraphView) -> int:
    """Return the number of rows of the smallest table that an integer input indexes, 2 if it indexes none."""
    rows = [
        view.tensor(node.input[0]).dims[0]
        for node in view.consumers.get(name, [])
        if node.op_type == "Gather" and view.is_initializer(node.input[0]) and node.input[1] == name
    ]
    return int(min(rows, default=2))
