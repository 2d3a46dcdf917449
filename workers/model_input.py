"""Datasets as batches of a model's input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import ModelMetadata, Preprocessing, TensorSpec
from faceter.datasets.kinds import InputDataset
from faceter.datasets.samples import Batch as DatasetBatch
from faceter.datasets.signals import SignalsDataset
from faceter.vision.metadata import image_input

Batch = dict[str, NDArray[np.generic]]
"""Arrays by input name, batch first."""

_MAX_BATCH_BYTES = 16 * 2**20
_MAX_BATCH_SIZE = 64


class ModelInput(Protocol):
    """A dataset in the form of a model's input."""

    @property
    def name(self) -> str:
        """Name of the model's input."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample, without the batch axis."""

    def __len__(self) -> int: ...

    def batches(self, size: int, indices: Sequence[int]) -> Iterator[DatasetBatch]:
        """Yield batches of ``size`` samples in the model's dtype, without labels."""


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
    name: str

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.preprocessing.channels, *self.preprocessing.size)

    def __len__(self) -> int:
        return len(self.data)

    def batches(self, size: int, indices: Sequence[int]) -> Iterator[DatasetBatch]:
        return self.data.batches(self.preprocessing, size, indices=indices)


@dataclass(frozen=True)
class _SignalInput:
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


def as_model_input(
    data: InputDataset | ImageBatches, metadata: ModelMetadata, inputs: Sequence[TensorSpec], field: str
) -> ModelInput:
    """Return a dataset as the input of a model.

    Args:
        field: The field of the request with the dataset, for the error.

    Raises:
        FaceterError: ``DATASET_MISMATCH`` if the model has other inputs.
    """
    if not isinstance(data, SignalsDataset):
        return _ImageInput(data, *require_image_input(metadata, inputs, field))
    try:
        return _SignalInput(data, data.matching_input(inputs))
    except FaceterError as error:
        raise error.at(field) from error


def inference_batch_size(inputs: Sequence[TensorSpec], values: int) -> tuple[int, bool]:
    """Return the batch size for inference, and whether the model fixes it.

    Args:
        values: Number of values of one sample, over all inputs.
    """
    for spec in inputs:
        if spec.shape and isinstance(spec.shape[0], int):
            return spec.shape[0], True
    return int(np.clip(_MAX_BATCH_BYTES // max(values * 4, 1), 1, _MAX_BATCH_SIZE)), False


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
