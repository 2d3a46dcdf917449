"""Seeded noise shaped like a model's inputs, for models without calibration data.

Images are not white noise, which excites no features, but have the 1/f spectrum of photographs, random in colour and
contrast over the whole pixel range, and pass the model's preprocessing. Other float inputs are N(0, 1), or what the
graph's own normalization makes N(0, 1). Integers are uniform over the rows of the table, or the depth of the one-hot
code, that they index; masks are 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import TensorSpec
from faceter.contracts.preprocessing import Preprocessing
from faceter.graphs.view import GraphView, attribute
from faceter.vision.preprocess import as_dtype
from workers.model_input import Batch, fixed_batch_size
from workers.quantization.input_scale import input_distribution

_IMAGE_RANK, _COLOURS = 4, 3
_MEAN, _DEVIATION = 0.449, 0.226
"""Of ImageNet, over all channels."""
_KEEPING = frozenset(
    {
        "Cast", "Concat", "Expand", "Flatten", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose",
        "Unsqueeze",
    }
)  # fmt: skip
"""Operators that keep the values of their input."""


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


def concrete_shape(spec: TensorSpec, batch: int) -> list[int]:
    """Return the shape of an input whose only open axis is that of the batch.

    Raises:
        ValueError: If another axis is open; see :mod:`faceter.engines.input_shapes`.
    """
    shape = [batch if axis == 0 and not isinstance(size, int) else size for axis, size in enumerate(spec.shape)]
    sizes = [size for size in shape if isinstance(size, int)]
    if len(sizes) < len(shape):
        raise ValueError(f"the input {spec.name!r} has an open size: {spec.shape}")
    return sizes


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
    fixed = fixed_batch_size(inputs)
    size = fixed or batch
    yielded = 0
    while yielded < samples:
        count = size if fixed else min(size, samples - yielded)
        yield {spec.name: _noise(spec, view, preprocessing, count, rng) for spec in inputs}
        yielded += count


def _noise(
    spec: TensorSpec, view: GraphView, preprocessing: Preprocessing | None, count: int, rng: np.random.Generator
) -> NDArray[np.generic]:
    shape = concrete_shape(spec, count)
    dtype = np.dtype(spec.dtype) if spec.dtype not in ("object", "str") else None
    if dtype is None or dtype.kind not in "fiub":
        raise FaceterError(
            ProblemKind.INVALID_INPUT,
            f"The input {spec.name!r} holds {spec.dtype} values, for which no noise can be made. Give a dataset to "
            "calibrate on, or cut the graph behind the operators that read them.",
        )
    if "mask" in spec.name.lower():
        return np.ones(shape, dtype)
    if takes_images(spec, preprocessing) and preprocessing is not None:
        height, width = shape[1:3] if preprocessing.channels_last else shape[2:4]
        images = noise_images(shape[0], preprocessing.channels, height, width, rng)
        return as_dtype(in_layout(normalized(images, preprocessing), preprocessing), spec.dtype)
    if dtype.kind == "f":
        return _floats(spec.name, view, shape, rng).astype(dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, size=shape).astype(dtype)
    return rng.integers(0, index_limit(spec.name, view), size=shape).astype(dtype)


def _floats(name: str, view: GraphView, shape: Sequence[int], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return N(0, 1), moved to where the graph's own normalization expects the input."""
    mean, deviation = input_distribution(view, name)
    plain = not mean.any() and bool((deviation == 1).all())
    if plain and len(shape) == _IMAGE_RANK and shape[1] == _COLOURS:
        return _images_of_unknown_range(shape, rng)
    values: NDArray[np.float64] = rng.normal(size=shape)
    if mean.ndim == 1 and len(shape) > 2 and len(mean) == shape[1]:
        mean, deviation = (item.reshape(1, -1, *[1] * (len(shape) - 2)) for item in (mean, deviation))
    try:
        moved: NDArray[np.float64] = mean + deviation * values
    except ValueError:
        return values
    return moved if moved.shape == values.shape else values


def _images_of_unknown_range(shape: Sequence[int], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return noise images, every second one in 0…1, the others normalized to about mean 0 and deviation 1."""
    count, channels, height, width = shape
    images = noise_images(count, channels, height, width, rng).astype(np.float64) / 255
    images[1::2] = (images[1::2] - _MEAN) / _DEVIATION
    return images


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


def in_layout(images: NDArray[np.float32], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Return images [N, C, H, W] in the layout of the model's input."""
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1)) if preprocessing.channels_last else images


def index_limit(name: str, view: GraphView) -> int:
    """Return the number of values that an integer input may take: the fewest rows or the depth that it indexes.

    The input is followed through operators that keep its values; 2 if it indexes nothing.
    """
    limits: list[int] = []
    pending, seen = [name], {name}
    while pending:
        tensor = pending.pop()
        for node in view.consumers.get(tensor, []):
            if node.op_type in _KEEPING:
                found = [output for output in node.output if output and output not in seen]
                seen.update(found)
                pending.extend(found)
            elif node.op_type == "Gather" and len(node.input) > 1 and node.input[1] == tensor:
                table = view.constant(node.input[0])
                if table is not None and table.ndim:
                    limits.append(table.shape[int(attribute(node, "axis", 0))])
            elif node.op_type == "OneHot" and node.input[0] == tensor:
                depth = view.constant(node.input[1])
                if depth is not None and depth.size == 1:
                    limits.append(int(depth.reshape(-1)[0]))
    return max(1, min(limits, default=2))
