"""Datasets as the input of one model."""

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

_BATCH_BYTES = 16 * 2**20
_MOST_IN_BATCH = 64


class InputData(Protocol):
    """A dataset as one model's input."""

    @property
    def name(self) -> str:
        """Name of the model's input."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input, the batch left out."""

    def __len__(self) -> int: ...

    def batches(self, size: int, indices: Sequence[int]) -> Iterator[DatasetBatch]:
        """Yield ``size`` inputs at a time, as the dtype that the model takes; labels are left out."""


class ImageBatches(Protocol):
    """Images that come as a model's input, from a dataset or from elsewhere."""

    def __len__(self) -> int: ...

    def batches(
        self, preprocessing: Preprocessing, batch: int, *, indices: Sequence[int] | None = None
    ) -> Iterator[DatasetBatch]:
        """Yield images as a model's input, ``batch`` at a time; all in order if no ``indices`` are given."""


@dataclass(frozen=True)
class _Images:
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


def as_input(
    data: InputDataset | ImageBatches, metadata: ModelMetadata, inputs: Sequence[TensorSpec], field: str
) -> InputData:
    """Return a dataset as the input of a model.

    Args:
        data: The dataset.
        metadata: The model's.
        inputs: What the model takes.
        field: The field of the request that names the dataset.

    Raises:
        FaceterError: ``DATASET_MISMATCH`` if the model takes something else.
    """
    if not isinstance(data, SignalsDataset):
        return _Images(data, *checked_image_input(metadata, inputs, field))
    try:
        return _Signals(data, data.input_of(inputs))
    except FaceterError as error:
        raise error.at(field) from error


def batch_of(inputs: Sequence[TensorSpec], values: int) -> tuple[int, bool]:
    """Return how many inputs to run at a time, and whether the model fixes that number.

    Args:
        inputs: What the model takes.
        values: How many values one input has, all together.
    """
    for spec in inputs:
        if spec.shape and isinstance(spec.shape[0], int):
            return spec.shape[0], True
    return int(np.clip(_BATCH_BYTES // max(values * 4, 1), 1, _MOST_IN_BATCH)), False


def checked_image_input(metadata: ModelMetadata, inputs: Sequence[TensorSpec], field: str) -> tuple[Preprocessing, str]:
    """Return how images become the model's input, and that input's name.

    Raises:
        FaceterError: ``DATASET_MISMATCH`` if the model does not take images alone.
    """
    if metadata.preprocessing is None or len(inputs) != 1:
        reason = "has no preprocessing" if metadata.preprocessing is None else f"takes {len(inputs)} inputs"
        raise FaceterError(
            ProblemKind.DATASET_MISMATCH,
            f"The model {reason}, so a dataset of images cannot be made its input. Leave {field} out, or upload the "
            "model with its preprocessing.",
            field=field,
        )
    return metadata.preprocessing, image_input(metadata.preprocessing, inputs).name


def filled(batch: Batch, size: int) -> Batch:
    """Return a batch filled up to ``size`` rows by repeating its own."""
    return {name: np.resize(values, (size, *values.shape[1:])) for name, values in batch.items()}
