"""Where a job's inputs come from: the user's data sets, else seeded noise."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray

from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import ModelMetadata, Preprocessing, TensorSpec
from faceter.datasets.detection import DetectionDataset
from faceter.datasets.grading import GRADED_BY, check_classes
from faceter.datasets.images import ImagesDataset
from faceter.datasets.kinds import InputDataset
from faceter.datasets.samples import Batch as DatasetBatch
from faceter.datasets.signals import SignalsDataset
from faceter.vision.metadata import image_input
from faceter.vision.preprocess import Placement
from workers.quantization.noise import Batch, concrete_shape, noise_batches

MOST_CALIBRATION_SAMPLES = 512
NOISE_SAMPLES = 64
COMPARED_ON_NOISE = 256
_BYTES_IN_MEMORY = 256 * 2**20
_TUNING_BYTES = 2**30
_BATCH_BYTES = 16 * 2**20
_MOST_IN_BATCH = 64


class InputData(Protocol):
    """A data set as one model's input."""

    @property
    def name(self) -> str:
        """Name of the model's input."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input, the batch left out."""

    def __len__(self) -> int: ...

    def batches(self, size: int, indices: Sequence[int]) -> Iterator[DatasetBatch]:
        """Yield ``size`` inputs at a time, as the dtype that the model takes; labels are left out."""


@dataclass(frozen=True)
class _Pictures:
    data: ImagesDataset | DetectionDataset
    preprocessing: Preprocessing
    name: str

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.preprocessing.channels, *self.preprocessing.size)

    def __len__(self) -> int:
        return len(self.data)

    def batches(self, size: int, indices: Sequence[int]) -> Iterator[DatasetBatch]:
        return self.data.batches(self.preprocessing, size, indices=indices)


@dataclass(frozen=True)
class _Signals:
    data: SignalsDataset
    spec: TensorSpec

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    def __len__(self) -> int:
        return len(self.data)

    def batches(self, size: int, indices: Sequence[int]) -> Iterator[DatasetBatch]:
        for batch in self.data.batches(size, indices=indices):
            yield replace(batch, inputs=batch.inputs.astype(self.spec.dtype, copy=False))


def as_input(data: InputDataset, metadata: ModelMetadata, inputs: Sequence[TensorSpec], field: str) -> InputData:
    """Return a data set as the input of a model.

    Args:
        data: The data set.
        metadata: The model's.
        inputs: What the model takes.
        field: The field of the request that names the data set.

    Raises:
        FaceterError: ``DATASET_MISMATCH`` if the model takes something else.
    """
    if not isinstance(data, SignalsDataset):
        return _Pictures(data, *picture_input(metadata, inputs, field))
    try:
        return _Signals(data, data.input_of(inputs))
    except FaceterError as error:
        raise error.at(field) from error


@dataclass(frozen=True)
class Sample:
    """One batch to compare two models on.

    Args:
        inputs: Arrays by input name, batch first.
        labels: Class of each input, [B]; None where there are none.
        placements: Where each picture lies in its input; empty for all else.
        count: How many of the rows count; the rest fill up a batch of fixed size.
    """

    inputs: Batch
    labels: NDArray[np.integer] | None
    placements: Sequence[Placement]
    count: int


def batch_size(inputs: Sequence[TensorSpec], preprocessing: Preprocessing | None) -> tuple[int, bool]:
    """Return how many inputs to run at a time, and whether the model fixes that number."""
    return _batch_size(inputs, sum(math.prod(concrete_shape(spec, preprocessing, 1)) for spec in inputs))


def _batch_size(inputs: Sequence[TensorSpec], values: int) -> tuple[int, bool]:
    for spec in inputs:
        if spec.shape and isinstance(spec.shape[0], int):
            return spec.shape[0], True
    return int(np.clip(_BATCH_BYTES // max(values * 4, 1), 1, _MOST_IN_BATCH)), False


def picture_input(metadata: ModelMetadata, inputs: Sequence[TensorSpec], field: str) -> tuple[Preprocessing, str]:
    """Return how pictures become the model's input, and that input's name.

    Raises:
        FaceterError: ``DATASET_MISMATCH`` if the model does not take pictures alone.
    """
    if metadata.preprocessing is None or len(inputs) != 1:
        reason = "has no preprocessing" if metadata.preprocessing is None else f"takes {len(inputs)} inputs"
        raise FaceterError(
            ProblemKind.DATASET_MISMATCH,
            f"The model {reason}, so a data set of pictures cannot be made its input. Leave {field} out, or upload the "
            "model with its preprocessing.",
            field=field,
        )
    return metadata.preprocessing, image_input(metadata.preprocessing, inputs).name


def check_evaluation(metadata: ModelMetadata, kind: DatasetKind, data: InputDataset, classes: int | None) -> None:
    """See that a data set can grade a model.

    Args:
        metadata: The model's.
        kind: The data set's kind.
        data: The data set.
        classes: Size of the model's class axis; None where it is not known.

    Raises:
        FaceterError: ``WRONG_DATASET_KIND`` or ``DATASET_MISMATCH``, saying what is needed.
    """
    field = "evaluation_dataset"
    wanted = GRADED_BY.get(metadata.task)
    if wanted is None:
        return
    if wanted is not kind:
        raise FaceterError(
            ProblemKind.WRONG_DATASET_KIND,
            f"A model for {metadata.task} is evaluated on a data set of kind {wanted}, not {kind}.",
            field=field,
        )
    if data.labels_for(None) is None:
        lack = "class folders" if kind is DatasetKind.IMAGES else "labels"
        raise FaceterError(
            ProblemKind.DATASET_MISMATCH,
            f"The evaluation data set has no {lack}, so accuracy cannot be measured on it.",
            field=field,
        )
    try:
        check_classes(data, metadata.labels, classes)
    except FaceterError as error:
        raise error.at(field) from error


def calibration_batches(
    data: InputDataset, metadata: ModelMetadata, inputs: Sequence[TensorSpec], seed: int
) -> list[Batch]:
    """Return seeded samples of a data set as the model's input, at most 512 and 256 MiB of them.

    Raises:
        FaceterError: ``DATASET_MISMATCH`` if the model takes something else.
    """
    source = as_input(data, metadata, inputs, "calibration_dataset")
    values = math.prod(source.shape)
    size, fixed = _batch_size(inputs, values)
    count = min(len(source), MOST_CALIBRATION_SAMPLES, max(1, _BYTES_IN_MEMORY // (values * 4)))
    chosen = np.sort(np.random.default_rng(seed).choice(len(source), count, replace=False))
    batches: list[Batch] = [{source.name: batch.inputs} for batch in source.batches(size, chosen.tolist())]
    if fixed and batches[-1][source.name].shape[0] < size:
        batches[-1] = filled(batches[-1], size)
    return batches


def tuning_inputs(
    data: InputDataset | None, metadata: ModelMetadata, inputs: Sequence[TensorSpec], seed: int
) -> NDArray[np.float32]:
    """Return seeded samples of a data set as the model's input, [N, …], at most 1 GiB of them; none without data.

    Raises:
        FaceterError: ``DATASET_MISMATCH`` if the model takes something else.
    """
    if data is None:
        return np.empty(0, np.float32)
    source = as_input(data, metadata, inputs, "calibration_dataset")
    values = math.prod(source.shape)
    size, _ = _batch_size(inputs, values)
    count = min(len(source), max(1, _TUNING_BYTES // (values * 4)))
    chosen = np.sort(np.random.default_rng(seed).choice(len(source), count, replace=False))
    return np.concatenate([batch.inputs for batch in source.batches(size, chosen.tolist())]).astype(np.float32)


def filled(batch: Batch, size: int) -> Batch:
    """Return a batch filled up to ``size`` rows by repeating its own."""
    return {name: np.resize(values, (size, *values.shape[1:])) for name, values in batch.items()}


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
    """Compare on the chosen samples of a data set, or all; labels come with an evaluation data set only."""
    as_inputs = as_input(data, metadata, inputs, f"{source}_dataset")
    size, fixed = _batch_size(inputs, math.prod(as_inputs.shape))
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
    """The data sets of a job, opened."""

    calibration: InputDataset | None = None
    evaluation: InputDataset | None = None
    records: dict[str, Dataset] = field(default_factory=dict)
