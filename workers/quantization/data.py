"""Where a job's inputs come from: the user's data sets, else seeded noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from faceter.contracts.datasets import DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import ModelMetadata, Preprocessing, Task, TensorSpec
from faceter.datasets.detection import DetectionDataset
from faceter.datasets.images import ImagesDataset
from faceter.vision.metadata import image_input
from faceter.vision.preprocess import Placement
from workers.quantization.noise import Batch, concrete_shape, noise_batches

PictureData = ImagesDataset | DetectionDataset

MOST_CALIBRATION_SAMPLES = 512
NOISE_SAMPLES = 64
COMPARED_ON_NOISE = 256
_BYTES_IN_MEMORY = 256 * 2**20
_BATCH_BYTES = 16 * 2**20
_MOST_IN_BATCH = 64


@dataclass(frozen=True)
class Sample:
    """One batch to compare two models on.

    Args:
        inputs: Arrays by input name, batch first.
        labels: Class of each input, [B]; None where there are none.
        placements: Where each picture lies in its input; empty for noise.
        count: How many of the rows count; the rest fill up a batch of fixed size.
    """

    inputs: Batch
    labels: NDArray[np.integer] | None
    placements: Sequence[Placement]
    count: int


def batch_size(inputs: Sequence[TensorSpec], preprocessing: Preprocessing | None) -> tuple[int, bool]:
    """Return how many inputs to run at a time, and whether the model fixes that number."""
    for spec in inputs:
        if spec.shape and isinstance(spec.shape[0], int):
            return spec.shape[0], True
    one = sum(int(np.prod(concrete_shape(spec, preprocessing, 1))) * 4 for spec in inputs)
    return int(np.clip(_BATCH_BYTES // max(one, 1), 1, _MOST_IN_BATCH)), False


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


def check_evaluation(metadata: ModelMetadata, kind: DatasetKind, data: PictureData, classes: int | None) -> None:
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
    wanted = {Task.IMAGE_CLASSIFICATION: DatasetKind.IMAGES, Task.OBJECT_DETECTION: DatasetKind.DETECTION}
    if wanted.get(metadata.task, kind) is not kind:
        raise FaceterError(
            ProblemKind.WRONG_DATASET_KIND,
            f"A model for {metadata.task} is evaluated on a data set of kind {wanted[metadata.task]}, not {kind}.",
            field=field,
        )
    if metadata.task is Task.OBJECT_DETECTION and isinstance(data, DetectionDataset):
        data.labels_for(metadata.labels)
    if metadata.task is not Task.IMAGE_CLASSIFICATION or not isinstance(data, ImagesDataset):
        return
    if data.labels_for(metadata.labels) is None:
        raise FaceterError(
            ProblemKind.DATASET_MISMATCH,
            "The evaluation data set has no class folders, so accuracy cannot be measured on it.",
            field=field,
        )
    if metadata.labels is None and classes is not None and len(data.classes) != classes:
        raise FaceterError(
            ProblemKind.DATASET_MISMATCH,
            f"The evaluation data set has {len(data.classes)} classes and the model {classes}. Upload the model with "
            "its labels, so that classes can be told apart by name.",
            field=field,
        )


def calibration_batches(
    data: PictureData, metadata: ModelMetadata, inputs: Sequence[TensorSpec], seed: int
) -> list[Batch]:
    """Return seeded pictures of a data set as the model's input, at most 512 and 256 MiB of them.

    Raises:
        FaceterError: ``DATASET_MISMATCH`` if the model does not take pictures.
    """
    preprocessing, name = picture_input(metadata, inputs, "calibration_dataset")
    size, fixed = batch_size(inputs, preprocessing)
    one = int(np.prod(concrete_shape(inputs[0], preprocessing, 1))) * 4
    count = min(len(data), MOST_CALIBRATION_SAMPLES, max(1, _BYTES_IN_MEMORY // one))
    chosen = np.sort(np.random.default_rng(seed).choice(len(data), count, replace=False))
    batches: list[Batch] = [
        {name: batch.inputs} for batch in data.batches(preprocessing, size, indices=chosen.tolist())
    ]
    if fixed and batches[-1][name].shape[0] < size:
        batches[-1] = filled(batches[-1], size)
    return batches


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

    source: Literal["evaluation", "calibration", "noise"]
    samples: int
    batches: Iterator[Sample]


def picture_comparison(
    data: PictureData,
    source: Literal["evaluation", "calibration"],
    metadata: ModelMetadata,
    inputs: Sequence[TensorSpec],
) -> Comparison:
    """Compare on all pictures of a data set; labels come with those of an evaluation data set only."""
    preprocessing, name = picture_input(metadata, inputs, f"{source}_dataset")
    size, fixed = batch_size(inputs, preprocessing)
    labelled = source == "evaluation" and metadata.task is Task.IMAGE_CLASSIFICATION

    def batches() -> Iterator[Sample]:
        labels = data.picture_labels(metadata.labels) if labelled else None
        for batch in data.batches(preprocessing, size, indices=range(len(data))):
            rows: Batch = {name: batch.inputs}
            chosen = None if labels is None else labels[batch.indices]
            count = len(batch.indices)
            yield Sample(filled(rows, size) if fixed else rows, chosen, batch.placements, count)

    return Comparison(source, len(data), batches())


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
