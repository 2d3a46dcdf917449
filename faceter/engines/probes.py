"""Seeded inputs to compare and time engines on."""

from collections.abc import Mapping, Sequence

import numpy as np

from faceter.contracts.models import Model, TensorSpec
from faceter.engines.base import Array
from faceter.graphs.value_types import is_tensor
from faceter.vision.metadata import image_input
from faceter.vision.preprocess import as_dtype, value_table

_SEED = 0


def probe_inputs(model: Model, samples: int) -> dict[str, Array] | None:
    """Return inputs of a model for a number of samples; None if the size of one is not known.

    Images are random pixels, preprocessed. Other floats are N(0, 1), integers 0 and 1.

    Args:
        model: A model's record.
        samples: Size of every open first axis.
    """
    rng = np.random.default_rng(_SEED)
    preprocessing, constants = model.metadata.preprocessing, model.metadata.constant_inputs or {}
    image = None if preprocessing is None else image_input(preprocessing, model.inputs).name
    inputs: dict[str, Array] = {}
    for spec in model.inputs:
        shape = _shape(spec, model.input_shapes, samples)
        if preprocessing is not None and spec.name == image:
            shape = (_batch(spec, samples), *preprocessing.shape)
        if shape is None or spec.dtype == "str" or not is_tensor(spec.dtype):
            return None
        if spec.name in constants:
            inputs[spec.name] = np.full(shape, constants[spec.name], spec.dtype)
        elif preprocessing is not None and spec.name == image:
            pixels = rng.integers(0, 256, shape)
            low, high = value_table(preprocessing)[:, 0].min(), value_table(preprocessing)[:, -1].max()
            inputs[spec.name] = as_dtype((low + (high - low) * pixels / 255).astype(np.float32), spec.dtype)
        elif spec.dtype in ("float16", "float32", "float64", "bfloat16"):
            inputs[spec.name] = rng.normal(size=shape).astype("float32" if spec.dtype == "bfloat16" else spec.dtype)
        else:
            inputs[spec.name] = rng.integers(0, 2, shape).astype(spec.dtype)
    return inputs


def _batch(spec: TensorSpec, samples: int) -> int:
    return spec.shape[0] if isinstance(spec.shape[0], int) else samples


def _shape(spec: TensorSpec, shapes: Mapping[str, Sequence[int]], samples: int) -> tuple[int, ...] | None:
    """Return the shape of an input for a number of samples; None if one of its sizes is not known."""
    if not spec.shape:
        return ()
    known = shapes.get(spec.name, [samples, *spec.shape[1:]])
    rest = known[1:]
    sizes = tuple(size for size in rest if isinstance(size, int))
    return (_batch(spec, samples), *sizes) if len(sizes) == len(rest) else None
