"""The inputs that the float and the quantized model are compared on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from faceter.contracts.models import ModelMetadata, Preprocessing, TensorSpec
from faceter.datasets.accuracy import KIND_OF_TASK
from faceter.datasets.kinds import InputDataset
from faceter.vision.preprocess import Placement
from workers.model_input import Batch, as_model_input, inference_batch_size, pad_batch
from workers.quantization.calibration_inputs import batch_size
from workers.quantization.datasets import JobDatasets
from workers.quantization.noise import noise_batches

NOISE_SAMPLES = 256


@dataclass(frozen=True)
class ComparisonBatch:
    """One batch of inputs.

    Args:
        inputs: Arrays by input name, batch first.
        labels: Class of each input, [B]; None without labels.
        placements: Where each image lies in its input; empty for other inputs.
        count: Number of rows that count; the rest are padding for a model of fixed batch size.
    """

    inputs: Batch
    labels: NDArray[np.integer] | None
    placements: Sequence[Placement]
    count: int


@dataclass(frozen=True)
class ComparisonInputs:
    """Inputs to compare two models on.

    Args:
        batches: One batch in memory at a time; can be iterated once.
    """

    source: Literal["evaluation", "calibration", "synthetic", "noise"]
    samples: int
    batches: Iterator[ComparisonBatch]


@dataclass(frozen=True)
class HeldOutInputs:
    """Inputs that nothing is tuned on.

    Args:
        values: Float32 [N, …].
    """

    values: NDArray[np.float32]
    source: Literal["calibration", "synthetic"]


def comparison_inputs(
    original: onnx.ModelProto,
    specs: Sequence[TensorSpec],
    metadata: ModelMetadata,
    datasets: JobDatasets,
    held_out: HeldOutInputs | None,
    seed: int,
) -> ComparisonInputs:
    """Return the best inputs available: evaluation data, else held-out inputs, else calibration data, else noise."""
    if datasets.evaluation is not None:
        return dataset_inputs(datasets.evaluation, "evaluation", metadata, specs)
    if held_out is not None:
        return held_out_inputs(held_out, metadata, specs)
    if datasets.calibration is not None:
        return dataset_inputs(datasets.calibration, "calibration", metadata, specs)
    return noise_inputs(original, specs, metadata.preprocessing, seed)


def dataset_inputs(
    dataset: InputDataset,
    source: Literal["evaluation", "calibration"],
    metadata: ModelMetadata,
    specs: Sequence[TensorSpec],
    indices: Sequence[int] | None = None,
) -> ComparisonInputs:
    """Return samples of a dataset; only an evaluation dataset gives labels.

    Args:
        indices: Samples to use; all if not given.
    """
    model_input = as_model_input(dataset, metadata, specs, f"{source}_dataset_id")
    size, fixed = inference_batch_size(specs, math.prod(model_input.shape))
    labelled = source == "evaluation" and metadata.task in KIND_OF_TASK
    chosen = range(len(model_input)) if indices is None else indices

    def batches() -> Iterator[ComparisonBatch]:
        labels = dataset.sample_labels(metadata.labels) if labelled else None
        for batch in model_input.batches(size, chosen):
            rows: Batch = {model_input.name: batch.inputs}
            classes = None if labels is None else labels[batch.indices]
            count = len(batch.indices)
            yield ComparisonBatch(pad_batch(rows, size) if fixed else rows, classes, batch.placements, count)

    return ComparisonInputs(source, len(chosen), batches())


def noise_inputs(
    model: onnx.ModelProto, specs: Sequence[TensorSpec], preprocessing: Preprocessing | None, seed: int
) -> ComparisonInputs:
    """Return 256 inputs of seeded noise, other noise than activation ranges were measured on."""
    size, fixed = batch_size(specs, preprocessing)
    samples = -(-NOISE_SAMPLES // size) * size if fixed else NOISE_SAMPLES
    noise = noise_batches(model, specs, preprocessing, samples=samples, batch=size, seed=seed + 1)

    def batches() -> Iterator[ComparisonBatch]:
        for batch in noise:
            yield ComparisonBatch(batch, None, (), len(next(iter(batch.values()))))

    return ComparisonInputs("noise", samples, batches())


def held_out_inputs(held_out: HeldOutInputs, metadata: ModelMetadata, specs: Sequence[TensorSpec]) -> ComparisonInputs:
    """Return held-out inputs, for a model with one input."""
    size, fixed = batch_size(specs, metadata.preprocessing)
    name = specs[0].name
    dtype = np.dtype(specs[0].dtype)

    def batches() -> Iterator[ComparisonBatch]:
        for start in range(0, len(held_out.values), size):
            rows: Batch = {name: held_out.values[start : start + size].astype(dtype)}
            count = len(rows[name])
            yield ComparisonBatch(pad_batch(rows, size) if fixed else rows, None, (), count)

    return ComparisonInputs(held_out.source, len(held_out.values), batches())
