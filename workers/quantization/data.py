"""Where a job's inputs come from: the user's datasets, else seeded noise."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import ModelMetadata, Preprocessing, TensorSpec
from faceter.datasets.grading import GRADED_BY, check_classes
from faceter.datasets.kinds import InputDataset
from faceter.vision.preprocess import Placement
from workers.model_input import Batch, as_input, batch_of, filled
from workers.quantization.noise import concrete_shape, noise_batches

MOST_CALIBRATION_SAMPLES = 512
NOISE_SAMPLES = 64
COMPARED_ON_NOISE = 256
_BYTES_IN_MEMORY = 256 * 2**20
_TUNING_BYTES = 2**30


@dataclass(frozen=True)
class Sample:
    """One batch to compare two models on.

    Args:
        inputs: Arrays by input name, batch first.
        labels: Class of each input, [B]; None where there are none.
        placements: Where each image lies in its input; empty for all else.
        count: How many of the rows count; the rest fill up a batch of fixed size.
    """

    inputs: Batch
    labels: NDArray[np.integer] | None
    placements: Sequence[Placement]
    count: int


def batch_size(inputs: Sequence[TensorSpec], preprocessing: Preprocessing | None) -> tuple[int, bool]:
    """Return how many inputs to run at a time, and whether the model fixes that number."""
    return batch_of(inputs, sum(math.prod(concrete_shape(spec, preprocessing, 1)) for spec in inputs))


def check_evaluation(metadata: ModelMetadata, kind: DatasetKind, data: InputDataset, classes: int | None) -> None:
    """See that a dataset can grade a model.

    Args:
        metadata: The model's.
        kind: The dataset's kind.
        data: The dataset.
        classes: Size of the model's class axis; None where it is not known.

    Raises:
        FaceterError: ``WRONG_DATASET_KIND`` or ``DATASET_MISMATCH``, saying what is needed.
    """
    field = "evaluation_dataset_id"
    wanted = GRADED_BY.get(metadata.task)
    if wanted is None:
        return
    if wanted is not kind:
        raise FaceterError(
            ProblemKind.WRONG_DATASET_KIND,
            f"A model for {metadata.task} is evaluated on a dataset of kind {wanted}, not {kind}.",
            field=field,
        )
    if data.labels_for(None) is None:
        lack = "class folders" if kind is DatasetKind.IMAGES else "labels"
        raise FaceterError(
            ProblemKind.DATASET_MISMATCH,
            f"The evaluation dataset has no {lack}, so accuracy cannot be measured on it.",
            field=field,
        )
    try:
        check_classes(data, metadata.labels, classes)
    except FaceterError as error:
        raise error.at(field) from error


def calibration_batches(
    data: InputDataset, metadata: ModelMetadata, inputs: Sequence[TensorSpec], seed: int
) -> list[Batch]:
    """Return seeded samples of a dataset as the model's input, at most 512 and 256 MiB of them.

    Raises:
        FaceterError: ``DATASET_MISMATCH`` if the model takes something else.
    """
    source = as_input(data, metadata, inputs, "calibration_dataset_id")
    values = math.prod(source.shape)
    size, fixed = batch_of(inputs, values)
    count = min(len(source), MOST_CALIBRATION_SAMPLES, max(1, _BYTES_IN_MEMORY // (values * 4)))
    chosen = np.sort(np.random.default_rng(seed).choice(len(source), count, replace=False))
    batches: list[Batch] = [{source.name: batch.inputs} for batch in source.batches(size, chosen.tolist())]
    if fixed and batches[-1][source.name].shape[0] < size:
        batches[-1] = filled(batches[-1], size)
    return batches


def tuning_inputs(
    data: InputDataset | None, metadata: ModelMetadata, inputs: Sequence[TensorSpec], seed: int
) -> NDArray[np.float32]:
    """Return seeded samples of a dataset as the model's input, [N, …], at most 1 GiB of them; none without data.

    Raises:
        FaceterError: ``DATASET_MISMATCH`` if the model takes something else.
    """
    if data is None:
        return np.empty(0, np.float32)
    source = as_input(data, metadata, inputs, "calibration_dataset_id")
    values = math.prod(source.shape)
    size, _ = batch_of(inputs, values)
    count = min(len(source), max(1, _TUNING_BYTES // (values * 4)))
    chosen = np.sort(np.random.default_rng(seed).choice(len(source), count, replace=False))
    found = np.empty((count, *source.shape), np.float32)
    start = 0
    for batch in source.batches(size, chosen.tolist()):
        found[start : start + len(batch.indices)] = batch.inputs
        start += len(batch.indices)
    return found


def noise_in_memory(
    model: onnx.ModelProto, inputs: Sequence[TensorSpec], preprocessing: Preprocessing | None, seed: int
) -> list[Batch]:
    """Return batches of noise to measure activation ranges on: 64 inputs, and at most 256 MiB."""
    size, _ = batch_size(inputs, preprocessing)
    one = sum(int(np.prod(concrete_shape(spec, preprocessing, 1))) * 4 for spec in inputs)
    samples = min(NOISE_SAMPLES, max(1, _BYTES_IN_MEMORY // max(one, 1)))
    return list(noise_batches(model, inputs, preprocessing, samples=samples, batch=size, seed=seed))


@dataclass(frozen=True)
class Comparison:
    """What two models are compared on.

    Args:
        source: Where the inputs come from.
        samples: How many there are.
        batches: The inputs, one batch in memory at a time.
    """

    source: Literal["evaluation", "calibration", "synthetic", "noise"]
    samples: int
    batches: Iterator[Sample]


def data_comparison(
    data: InputDataset,
    source: Literal["evaluation", "calibration"],
    metadata: ModelMetadata,
    inputs: Sequence[TensorSpec],
    chosen: Sequence[int] | None = None,
) -> Comparison:
    """Compare on the chosen samples of a dataset, or all; labels come with an evaluation dataset only."""
    as_inputs = as_input(data, metadata, inputs, f"{source}_dataset")
    size, fixed = batch_of(inputs, math.prod(as_inputs.shape))
    labelled = source == "evaluation" and metadata.task in GRADED_BY
    indices = range(len(as_inputs)) if chosen is None else chosen

    def batches() -> Iterator[Sample]:
        labels = data.sample_labels(metadata.labels) if labelled else None
        for batch in as_inputs.batches(size, indices):
            rows: Batch = {as_inputs.name: batch.inputs}
            right = None if labels is None else labels[batch.indices]
            count = len(batch.indices)
            yield Sample(filled(rows, size) if fixed else rows, right, batch.placements, count)

    return Comparison(source, len(indices), batches())


def noise_comparison(
    model: onnx.ModelProto, inputs: Sequence[TensorSpec], preprocessing: Preprocessing | None, seed: int
) -> Comparison:
    """Compare on 256 inputs of seeded noise (other noise than ranges were measured on)."""
    size, fixed = batch_size(inputs, preprocessing)
    samples = -(-COMPARED_ON_NOISE // size) * size if fixed else COMPARED_ON_NOISE
    noise = noise_batches(model, inputs, preprocessing, samples=samples, batch=size, seed=seed + 1)

    def batches() -> Iterator[Sample]:
        for batch in noise:
            yield Sample(batch, None, (), len(next(iter(batch.values()))))

    return Comparison("noise", samples, batches())


def held_out_comparison(
    held_out: NDArray[np.float32],
    source: Literal["calibration", "synthetic"],
    metadata: ModelMetadata,
    inputs: Sequence[TensorSpec],
) -> Comparison:
    """Compare on inputs that were held out of tuning.

    Args:
        held_out: The inputs, [N, …].
        source: Where they come from.
        metadata: The model's.
        inputs: Its one input.
    """
    size, fixed = batch_size(inputs, metadata.preprocessing)
    name = inputs[0].name
    dtype = np.dtype(inputs[0].dtype)

    def batches() -> Iterator[Sample]:
        for start in range(0, len(held_out), size):
            rows: Batch = {name: held_out[start : start + size].astype(dtype)}
            count = len(rows[name])
            yield Sample(filled(rows, size) if fixed else rows, None, (), count)

    return Comparison(source, len(held_out), batches())


@dataclass(frozen=True)
class Data:
    """The datasets of a job, opened."""

    calibration: InputDataset | None = None
    evaluation: InputDataset | None = None
    records: dict[str, Dataset] = field(default_factory=dict)
