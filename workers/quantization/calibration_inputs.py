"""Inputs to calibrate and tune on: samples of the calibration dataset, or seeded noise."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray

from faceter.contracts.models import ModelMetadata, TensorSpec
from faceter.contracts.preprocessing import Preprocessing
from faceter.datasets.kinds import InputDataset
from workers.model_input import Batch, as_model_input, inference_batch_size, pad_batch, values_per_sample
from workers.quantization.noise import concrete_shape, noise_batches
from workers.quantization.packed_inputs import input_packing
from workers.quantization.tuning.memory import activation_values

MAX_CALIBRATION_SAMPLES = 512
NOISE_SAMPLES = 64
_CALIBRATION_BYTES = 256 * 2**20
_TUNING_BYTES = 2**30
_OBSERVED_BYTES = 2**30
_FIELD = "calibration_dataset_id"


def batch_size(inputs: Sequence[TensorSpec]) -> tuple[int, bool]:
    """Return how many inputs to run at a time, and whether the model fixes that number."""
    return inference_batch_size(inputs, sum(math.prod(concrete_shape(spec, 1)) for spec in inputs))


def observed_batch(model: onnx.ModelProto, shapes: Mapping[str, Sequence[int]]) -> int:
    """Return the batch size at which all activations of a network together take at most 1 GiB, at least 1.

    Args:
        shapes: Shapes of the inputs at batch 1.
    """
    return max(1, _OBSERVED_BYTES // (4 * activation_values(model, shapes)))


def calibration_batches(
    dataset: InputDataset,
    metadata: ModelMetadata,
    inputs: Sequence[TensorSpec],
    seed: int,
    largest: int = MAX_CALIBRATION_SAMPLES,
) -> list[Batch]:
    """Return seeded samples of a dataset as the model's inputs, at most 512 and 256 MiB of them.

    Args:
        largest: Batch size that memory allows, see :func:`observed_batch`.

    Raises:
        FaceterError: ``DATASET_MISMATCH`` if the model takes something else.
    """
    source = as_model_input(dataset, metadata, inputs, _FIELD, lengths="equal")
    values = values_per_sample(source.shapes)
    size, fixed = inference_batch_size(inputs, values)
    size = size if fixed else min(size, largest)
    count = min(len(source), MAX_CALIBRATION_SAMPLES, max(1, _CALIBRATION_BYTES // (values * 4)))
    chosen = np.sort(np.random.default_rng(seed).choice(len(source), count, replace=False))
    batches = [batch.inputs for batch in source.batches(size, chosen.tolist())]
    return [pad_batch(batch, size) for batch in batches] if fixed else batches


def tuning_inputs(
    dataset: InputDataset | None, metadata: ModelMetadata, inputs: Sequence[TensorSpec], seed: int
) -> NDArray[np.float32]:
    """Return seeded samples of a dataset, packed [N, …], at most 1 GiB; empty without a dataset.

    Raises:
        FaceterError: ``DATASET_MISMATCH`` if the model takes something else.
    """
    if dataset is None:
        return np.empty(0, np.float32)
    source = as_model_input(dataset, metadata, inputs, _FIELD, lengths="exact")
    packing = input_packing(inputs, metadata.preprocessing)
    values = values_per_sample(source.shapes)
    size, _ = inference_batch_size(inputs, values)
    count = min(len(source), max(1, _TUNING_BYTES // (values * 4)))
    chosen = np.sort(np.random.default_rng(seed).choice(len(source), count, replace=False))
    samples = np.empty((count, *packing.sample_shape), np.float32)
    start = 0
    for batch in source.batches(size, chosen.tolist()):
        samples[start : start + len(batch.indices)] = packing.pack(batch.inputs)
        start += len(batch.indices)
    return samples


def noise_in_memory(
    model: onnx.ModelProto, inputs: Sequence[TensorSpec], preprocessing: Preprocessing | None, seed: int, largest: int
) -> list[Batch]:
    """Return batches of noise to measure activation ranges on: 64 inputs, and at most 256 MiB.

    Args:
        largest: Batch size that memory allows, see :func:`observed_batch`.
    """
    size = min(batch_size(inputs)[0], largest)
    one = sum(math.prod(concrete_shape(spec, 1)) * 4 for spec in inputs)
    samples = min(NOISE_SAMPLES, max(1, _CALIBRATION_BYTES // max(one, 1)))
    return list(noise_batches(model, inputs, preprocessing, samples=samples, batch=size, seed=seed))
