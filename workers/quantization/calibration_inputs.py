"""Inputs to calibrate and tune on: samples of the calibration dataset, or seeded noise."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray

from faceter.contracts.models import ModelMetadata, Preprocessing, TensorSpec
from faceter.datasets.kinds import InputDataset
from workers.model_input import Batch, as_model_input, inference_batch_size, pad_batch
from workers.quantization.noise import concrete_shape, noise_batches

MAX_CALIBRATION_SAMPLES = 512
NOISE_SAMPLES = 64
_CALIBRATION_BYTES = 256 * 2**20
_TUNING_BYTES = 2**30
_FIELD = "calibration_dataset_id"


def batch_size(inputs: Sequence[TensorSpec], preprocessing: Preprocessing | None) -> tuple[int, bool]:
    """Return how many inputs to run at a time, and whether the model fixes that number."""
    return inference_batch_size(inputs, sum(math.prod(concrete_shape(spec, preprocessing, 1)) for spec in inputs))


def calibration_batches(
    dataset: InputDataset, metadata: ModelMetadata, inputs: Sequence[TensorSpec], seed: int
) -> list[Batch]:
    """Return seeded samples of a dataset as the model's input, at most 512 and 256 MiB of them.

    Raises:
        FaceterError: ``DATASET_MISMATCH`` if the model takes something else.
    """
    source = as_model_input(dataset, metadata, inputs, _FIELD)
    values = math.prod(source.shape)
    size, fixed = inference_batch_size(inputs, values)
    count = min(len(source), MAX_CALIBRATION_SAMPLES, max(1, _CALIBRATION_BYTES // (values * 4)))
    chosen = np.sort(np.random.default_rng(seed).choice(len(source), count, replace=False))
    batches: list[Batch] = [{source.name: batch.inputs} for batch in source.batches(size, chosen.tolist())]
    if fixed and batches[-1][source.name].shape[0] < size:
        batches[-1] = pad_batch(batches[-1], size)
    return batches


def tuning_inputs(
    dataset: InputDataset | None, metadata: ModelMetadata, inputs: Sequence[TensorSpec], seed: int
) -> NDArray[np.float32]:
    """Return seeded samples of a dataset as the model's input, [N, …], at most 1 GiB; empty without a dataset.

    Raises:
        FaceterError: ``DATASET_MISMATCH`` if the model takes something else.
    """
    if dataset is None:
        return np.empty(0, np.float32)
    source = as_model_input(dataset, metadata, inputs, _FIELD)
    values = math.prod(source.shape)
    size, _ = inference_batch_size(inputs, values)
    count = min(len(source), max(1, _TUNING_BYTES // (values * 4)))
    chosen = np.sort(np.random.default_rng(seed).choice(len(source), count, replace=False))
    samples = np.empty((count, *source.shape), np.float32)
    start = 0
    for batch in source.batches(size, chosen.tolist()):
        samples[start : start + len(batch.indices)] = batch.inputs
        start += len(batch.indices)
    return samples


def noise_in_memory(
    model: onnx.ModelProto, inputs: Sequence[TensorSpec], preprocessing: Preprocessing | None, seed: int
) -> list[Batch]:
    """Return batches of noise to measure activation ranges on: 64 inputs, and at most 256 MiB."""
    size, _ = batch_size(inputs, preprocessing)
    one = sum(int(np.prod(concrete_shape(spec, preprocessing, 1))) * 4 for spec in inputs)
    samples = min(NOISE_SAMPLES, max(1, _CALIBRATION_BYTES // max(one, 1)))
    return list(noise_batches(model, inputs, preprocessing, samples=samples, batch=size, seed=seed))
