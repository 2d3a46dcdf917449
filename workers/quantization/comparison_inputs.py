"""The inputs that the float and the quantized model are compared on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from faceter.contracts.models import ModelMetadata, TensorSpec
from faceter.contracts.preprocessing import Preprocessing
from faceter.datasets.accuracy import KIND_OF_TASK
from faceter.datasets.kinds import InputDataset
from faceter.vision.preprocess import Placement
from workers.model_input import Batch, as_model_input, inference_batch_size, pad_batch, values_per_sample
from workers.quantization.calibration_inputs import batch_size
from workers.quantization.datasets import JobDatasets
from workers.quantization.noise import noise_batches
from workers.quantization.packed_inputs import input_packing
from workers.text_input import TextLengths

NOISE_SAMPLES = 256


@dataclass(frozen=True)
class ComparisonBatch:
    """One batch of inputs.

    Args:
        inputs: Arrays by input name, batch first.
        labels: Class of each input, [B]; None without labels.
        placements: Where each image lies in its input; empty for other inputs.
        count: Number of rows that count; the rest are padding for a model of fixed batch size.
        size: That batch size; None if any.
    """

    inputs: Batch
    labels: NDArray[np.integer] | None
    placements: Sequence[Placement]
    count: int
    size: int | None = None


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
        values: Packed, float32 [N, …]; see :class:`InputPacking`.
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
    *,
    lengths: TextLengths = "own",
) -> ComparisonInputs:
    """Return samples of a dataset; only an evaluation dataset gives labels.

    Args:
        indices: Samples to use; all if not given.
        lengths: How long batches of texts are.
    """
    model_input = as_model_input(dataset, metadata, specs, f"{source}_dataset_id", lengths=lengths)
    size, fixed = inference_batch_size(specs, values_per_sample(model_input.shapes))
    labelled = source == "evaluation" and metadata.task in KIND_OF_TASK
    chosen = range(len(model_input)) if indices is None else indices

    def batches() -> Iterator[ComparisonBatch]:
        labels = dataset.sample_labels(metadata.labels) if labelled else None
        for batch in model_input.batches(size, chosen):
            rows = pad_batch(batch.inputs, size) if fixed else batch.inputs
            classes = None if labels is None else labels[batch.indices]
            yield ComparisonBatch(rows, classes, batch.placements, len(batch.indices), size if fixed else None)

    return ComparisonInputs(source, len(chosen), batches())


def noise_inputs(
    model: onnx.ModelProto, specs: Sequence[TensorSpec], preprocessing: Preprocessing | None, seed: int
) -> ComparisonInputs:
    """Return 256 inputs of seeded noise, other noise than activation ranges were measured on."""
    size, fixed = batch_size(specs)
    samples = -(-NOISE_SAMPLES // size) * size if fixed else NOISE_SAMPLES
    noise = noise_batches(model, specs, preprocessing, samples=samples, batch=size, seed=seed + 1)

    def batches() -> Iterator[ComparisonBatch]:
        for start, batch in zip(range(0, samples, size), noise, strict=True):
            yield ComparisonBatch(batch, None, (), min(size, samples - start))

    return ComparisonInputs("noise", samples, batches())


def held_out_inputs(held_out: HeldOutInputs, metadata: ModelMetadata, specs: Sequence[TensorSpec]) -> ComparisonInputs:
    """Return held-out inputs, a batch at a time."""
    size, fixed = batch_size(specs)
    packing, samples = input_packing(specs, metadata.preprocessing), len(held_out.values)

    def batches() -> Iterator[ComparisonBatch]:
        for start in range(0, samples, size):
            rows = held_out.values[start : start + size]
            padded = np.resize(rows, (size, *rows.shape[1:])) if fixed else rows
            yield ComparisonBatch(packing.unpack(padded), None, (), len(rows), size if fixed else None)

    return ComparisonInputs(held_out.source, samples, batches())
