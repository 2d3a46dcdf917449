"""Datasets of kind ``tensors``: an ``.npz`` with one array for each input of a model, with or without classes."""

import math
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import TensorSpec
from faceter.datasets.arrays import ArrayArchive, ArrayHeader, validate_order
from faceter.datasets.errors import invalid_dataset, quoted_names
from faceter.datasets.labelled_arrays import LabelledArrays
from faceter.datasets.labels import CLASSES, LABELS, Labels
from faceter.datasets.samples import DatasetContents, ProgressFunction
from faceter.vision.boxes import IntArray

_KINDS: Final = "fiub"
_NUMBERS: Final = "floats, whole numbers or booleans"
_MAX_SAMPLE_BYTES: Final = 1 << 26


class TensorsDataset(LabelledArrays):
    """Samples of several tensors, in the order of the file, read on demand.

    Each array [N, …] but ``labels`` and ``classes`` is named after an input of the model that takes it. ``labels`` [N],
    if there are any, number the classes from 0; ``classes`` [K] names them. At most a few samples and the labels are in
    memory at any time. Reading is safe from several threads at once.

    Args:
        archive: Closed together with the dataset.

    Raises:
        FaceterError: ``INVALID_DATASET`` naming the array at fault.
    """

    def __init__(self, archive: ArrayArchive) -> None:
        super().__init__(archive)
        names = [name for name in archive.names if name not in (LABELS, CLASSES)]
        if not names:
            raise invalid_dataset("There are no arrays of samples. Save one [N, …] for each input, under its name.")
        self._headers = {name: archive.header(name) for name in names}
        for header in self._headers.values():
            _validate(header, next(iter(self._headers.values())))
        if archive.others:
            self.warnings.append(f"ignored, unknown: {quoted_names(archive.others)}")
        if sum(_row_bytes(header) for header in self._headers.values()) > _MAX_SAMPLE_BYTES:
            raise invalid_dataset(
                f"One sample has more than {_MAX_SAMPLE_BYTES:,} bytes. Cut samples into smaller ones."
            )
        self._labels = Labels.read(archive, len(self), self.warnings, sample_name="sample")

    def __len__(self) -> int:
        return next(iter(self._headers.values())).shape[0]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of one sample by array."""
        return {name: header.shape[1:] for name, header in self._headers.items()}

    def verify(self, progress: ProgressFunction | None = None) -> DatasetContents:
        """Check that every value is finite; see `DatasetReader.verify`."""
        total = sum(math.prod(header.shape) for header in self._headers.values())
        done = 0
        for name, header in self._headers.items():
            for start, values in self._blocks(header):
                wrong = np.argwhere(~np.isfinite(values.astype(np.float32)))
                if len(wrong):
                    place = [start + int(wrong[0][0]), *wrong[0][1:].tolist()]
                    raise invalid_dataset(f"{name}{place} is not a finite float32; every value must be.")
                done += values.size
                if progress is not None:
                    progress(done / total)
        return self.summary()

    def matching_inputs(self, inputs: Sequence[TensorSpec]) -> list[TensorSpec]:
        """Return the inputs of a model, checked to be those of the arrays.

        Raises:
            FaceterError: ``DATASET_MISMATCH`` if an array is missing, has no input, or another shape.
        """
        arrays = ", ".join(f"{name} {list(shape)}" for name, shape in self.shapes.items())
        by_name = {spec.name: spec for spec in inputs}
        missing = [name for name in by_name if name not in self._headers]
        unknown = [name for name in self._headers if name not in by_name]
        if missing or unknown:
            what = (
                f"no array for {quoted_names(missing)}" if missing else f"arrays of no input, {quoted_names(unknown)}"
            )
            raise _mismatch(f"The dataset has {what}. Name each array after an input: {quoted_names(list(by_name))}.")
        for name, header in self._headers.items():
            spec = by_name[name]
            sizes = list(zip(spec.shape[1:], header.shape[1:], strict=False))
            fits = all(expected == size or not isinstance(expected, int) for expected, size in sizes)
            if len(spec.shape) != len(header.shape) or not fits:
                raise _mismatch(f"The input '{name}' is {spec.shape}, N first; the samples are {arrays}.")
            if np.dtype(spec.dtype).kind in "iub" and header.dtype.kind == "f":
                raise _mismatch(f"The input '{name}' takes {spec.dtype}; the array holds {header.dtype.name}.")
        return list(inputs)

    def batches(self, size: int, indices: Sequence[int]) -> Iterator[tuple[dict[str, NDArray[Any]], IntArray]]:
        """Yield the arrays and positions of ``size`` samples at a time, in their dtypes; the last may be fewer."""
        readers = {name: self._archive.rows(header) for name, header in self._headers.items()}
        chosen = np.asarray(indices, np.int64)
        for start in range(0, len(chosen), size):
            part = chosen[start : start + size]
            for name, header in self._headers.items():
                if part.min() < readers[name].next:
                    readers[name] = self._archive.rows(header)
            yield {name: readers[name].at(part) for name in self._headers}, part


def tensors_file(
    arrays: Mapping[str, NDArray[Any]], labels: Sequence[int] | None = None, classes: Sequence[str] | None = None
) -> bytes:
    """Return the file of a dataset of tensors; equal arguments give equal bytes.

    Args:
        arrays: [N, …] by input.
        labels: Class of each sample, [N].
        classes: Names of the classes, [K].
    """
    content: dict[str, NDArray[Any]] = {name: np.ascontiguousarray(values) for name, values in arrays.items()}
    if labels is not None:
        content[LABELS] = np.asarray(labels, np.int64)
    if classes is not None:
        content[CLASSES] = np.asarray(classes, np.str_)
    file = BytesIO()
    np.savez_compressed(file, **content)  # type: ignore[arg-type]
    return file.getvalue()


def _row_bytes(header: ArrayHeader) -> int:
    return max(1, math.prod(header.shape[1:])) * header.dtype.itemsize


def _validate(header: ArrayHeader, first: ArrayHeader) -> None:
    if header.dtype.kind not in _KINDS:
        raise invalid_dataset(f"'{header.name}' must hold {_NUMBERS}; it is {header.dtype.name}.")
    if not header.shape or 0 in header.shape:
        raise invalid_dataset(f"'{header.name}' must be [N, …] with at least one sample; it is {list(header.shape)}.")
    if header.shape[0] != first.shape[0]:
        raise invalid_dataset(
            f"'{header.name}' has {header.shape[0]} rows and '{first.name}' {first.shape[0]}; each sample needs a row "
            "in every array."
        )
    validate_order(header, "samples")


def _mismatch(detail: str) -> FaceterError:
    return FaceterError(ProblemKind.DATASET_MISMATCH, detail)
