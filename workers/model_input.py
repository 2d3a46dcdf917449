"""Datasets as batches of a model's input."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import ModelMetadata, TensorSpec
from faceter.contracts.preprocessing import Preprocessing
from faceter.datasets.kinds import InputDataset
from faceter.datasets.samples import Batch as DatasetBatch
from faceter.datasets.signals import SignalsDataset
from faceter.datasets.tensors import TensorsDataset
from faceter.datasets.tokenized import TokenizableDataset
from faceter.vision.metadata import image_input
from faceter.vision.preprocess import as_dtype
from workers.input_batch import Batch as Batch
from workers.input_batch import InputBatch as InputBatch
from workers.text_input import TextLengths, as_text_input

_MAX_BATCH_BYTES = 16 * 2**20
_MAX_BATCH_SIZE = 64


class ModelInput(Protocol):
    """A dataset in the form of a model's inputs."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of one sample by input, without the batch axis."""

    def __len__(self) -> int: ...

    def batches(self, size: int, indices: Sequence[int]) -> Iterator[InputBatch]:
        """Yield batches of ``size`` samples in the dtypes of the inputs, without labels."""


class ImageBatches(Protocol):
    """A source of preprocessed images: a dataset, or a model that generates them."""

    def __len__(self) -> int: ...

    def batches(
        self, preprocessing: Preprocessing, batch: int, *, indices: Sequence[int] | None = None
    ) -> Iterator[DatasetBatch]:
        """Yield batches of preprocessed images; all in order if ``indices`` is None."""


@dataclass(frozen=True)
class _ImageInput:
    data: ImageBatches
    preprocessing: Preprocessing
    spec: TensorSpec

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {self.spec.name: self.preprocessing.shape}

    def __len__(self) -> int:
        return len(self.data)

    def batches(self, size: int, indices: Sequence[int]) -> Iterator[InputBatch]:
        for batch in self.data.batches(self.preprocessing, size, indices=indices):
            values = as_dtype(batch.inputs, self.spec.dtype)
            yield InputBatch({self.spec.name: values}, batch.indices, batch.placements)


@dataclass(frozen=True)
class _SignalInput:
    data: SignalsDataset
    spec: TensorSpec

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {self.spec.name: self.data.shape}

    def __len__(self) -> int:
        return len(self.data)

    def batches(self, size: int, indices: Sequence[int]) -> Iterator[InputBatch]:
        for batch in self.data.batches(size, indices=indices):
            yield InputBatch({self.spec.name: batch.inputs.astype(self.spec.dtype, copy=False)}, batch.indices)


@dataclass(frozen=True)
class _TensorInput:
    data: TensorsDataset
    specs: Sequence[TensorSpec]

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return self.data.shapes

    def __len__(self) -> int:
        return len(self.data)

    def batches(self, size: int, indices: Sequence[int]) -> Iterator[InputBatch]:
        for arrays, rows in self.data.batches(size, indices):
            yield InputBatch({spec.name: arrays[spec.name].astype(spec.dtype) for spec in self.specs}, rows)


def as_model_input(
    data: InputDataset | ImageBatches,
    metadata: ModelMetadata,
    inputs: Sequence[TensorSpec],
    field: str,
    *,
    lengths: TextLengths = "own",
) -> ModelInput:
    """Return a dataset as the input of a model.

    Args:
        field: The field of the request with the dataset, for the error.
        lengths: How long batches of texts are.

    Raises:
        FaceterError: ``DATASET_MISMATCH`` if the model has other inputs.
    """
    if isinstance(data, TokenizableDataset):
        try:
            return as_text_input(data, inputs, lengths)
        except FaceterError as error:
            raise error.at(field) from error
    if not isinstance(data, SignalsDataset | TensorsDataset):
        preprocessing, name = require_image_input(metadata, inputs, field)
        return _ImageInput(data, preprocessing, next(spec for spec in inputs if spec.name == name))
    try:
        if isinstance(data, TensorsDataset):
            return _TensorInput(data, data.matching_inputs(inputs))
        return _SignalInput(data, data.matching_input(inputs))
    except FaceterError as error:
        raise error.at(field) from error


def inference_batch_size(inputs: Sequence[TensorSpec], values: int) -> tuple[int, bool]:
    """Return the batch size for inference, and whether the model fixes it.

    Args:
        values: Number of values of one sample, over all inputs.
    """
    fixed = fixed_batch_size(inputs)
    if fixed is not None:
        return fixed, True
    return int(np.clip(_MAX_BATCH_BYTES // max(values * 4, 1), 1, _MAX_BATCH_SIZE)), False


def fixed_batch_size(inputs: Sequence[TensorSpec]) -> int | None:
    """Return the batch size that a model fixes; None if it is open.

    It is the first size that all inputs share; 1 if they share none, so that every run is of one sample.
    """
    if any(spec.shape and not isinstance(spec.shape[0], int) for spec in inputs):
        return None
    sizes = {spec.shape[0] if spec.shape else None for spec in inputs}
    size = sizes.pop() if len(sizes) == 1 else 1
    return size if isinstance(size, int) else 1


def values_per_sample(shapes: Mapping[str, Sequence[int]]) -> int:
    """Return the number of values of one sample over all inputs."""
    return sum(math.prod(shape) for shape in shapes.values())


def require_image_input(metadata: ModelMetadata, inputs: Sequence[TensorSpec], field: str) -> tuple[Preprocessing, str]:
    """Return the model's preprocessing of images and the name of its input.

    Raises:
        FaceterError: ``DATASET_MISMATCH`` if images are not its only input.
    """
    if metadata.preprocessing is None or len(inputs) != 1:
        reason = "has no preprocessing" if metadata.preprocessing is None else f"takes {len(inputs)} inputs"
        raise FaceterError(
            ProblemKind.DATASET_MISMATCH,
            f"The model {reason}, so a dataset of images cannot be its input. Leave {field} out, or upload the "
            "model with its preprocessing.",
            field=field,
        )
    return metadata.preprocessing, image_input(metadata.preprocessing, inputs).name


def pad_batch(batch: Batch, size: int) -> Batch:
    """Pad a batch to ``size`` rows by repeating its own rows."""
    return {name: np.resize(values, (size, *values.shape[1:])) for name, values in batch.items()}
