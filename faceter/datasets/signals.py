"""Datasets of kind ``signals``: an ``.npz`` of signals, with or without classes and concepts."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import TensorSpec, shape_text
from faceter.datasets.array_dataset import FLOATS, ArrayDataset
from faceter.datasets.arrays import ArrayArchive, ArrayHeader, validate_order
from faceter.datasets.errors import invalid_dataset
from faceter.datasets.labels import CLASSES, LABELS, read_names, validate_integers, validate_range
from faceter.datasets.samples import Batch, DatasetContents, ProgressFunction
from faceter.vision.boxes import IntArray

SIGNALS, CONCEPTS, CONCEPT_NAMES = "signals", "concepts", "concept_names"
"""Arrays of the file: [N, channels, length], [N, length] and [J]."""

CONCEPT_CATEGORY = "signal"
"""Category of the concepts."""

_RANK = 3
_MAX_SIGNAL_BYTES = 1 << 26


class SignalsDataset(ArrayDataset):
    """Signals of one shape, in the order of the file, read on demand.

    ``signals`` [N, channels, length] are floats. ``labels`` [N], if there are any, number the classes from 0;
    ``classes`` [K] names them, and without names they are called "0", "1", … and stand for the model's first, second, …
    output. ``concepts`` [N, length] number the concept of each moment: 0 for none, k for the k-th of
    ``concept_names``; [N, M, length] give each moment up to M concepts. At most a few signals and the labels are in
    memory at any time. Reading is safe from several threads at once.
    """

    samples_array = SIGNALS
    known_arrays = (SIGNALS, LABELS, CLASSES, CONCEPTS, CONCEPT_NAMES)
    sample_name = "signal"
    samples_name = "signals"

    def __init__(self, archive: ArrayArchive) -> None:
        super().__init__(archive)
        self.concept_names: list[str] = self._read_concept_names()
        """Names of the concepts, the first of which is number 1; empty if there are none."""

    @property
    def most_concepts(self) -> int:
        """Most concepts of a moment, M."""
        header = self._headers.get(CONCEPTS)
        if header is None:
            return 0
        return header.shape[1] if len(header.shape) == _RANK else 1

    @property
    def shape(self) -> tuple[int, int]:
        """Channels and length of each signal."""
        _, channels, length = self._samples.shape
        return channels, length

    def verify(self, progress: ProgressFunction | None = None) -> DatasetContents:
        """Check all signals and concepts; see `DatasetReader.verify`."""
        for start, values in self._blocks(self._samples, progress):
            _validate_finite(values, start)
        if CONCEPTS in self._headers:
            for start, values in self._blocks(self._headers[CONCEPTS]):
                validate_range(values, CONCEPTS, len(self.concept_names) + 1, f"'{CONCEPT_NAMES}' allow", start)
        return self.summary()

    def summary(self) -> DatasetContents:
        """Return the number of signals, in all and of each class, and the concepts."""
        concepts = {CONCEPT_CATEGORY: list(self.concept_names)} if self.concept_names else {}
        return replace(super().summary(), concepts=concepts)

    def matching_input(self, inputs: Sequence[TensorSpec]) -> TensorSpec:
        """Return the input of a model that the signals fit.

        Args:
            inputs: The model's inputs.

        Raises:
            FaceterError: ``DATASET_MISMATCH``, with both shapes, if there is none, or another one beside it.
        """
        channels, length = self.shape
        if len(inputs) == 1 and len(inputs[0].shape) == _RANK and inputs[0].dtype in FLOATS:
            sizes = zip(inputs[0].shape[1:], self.shape, strict=True)
            if all(expected == size or not isinstance(expected, int) for expected, size in sizes):
                return inputs[0]
        specs = ", ".join(f"'{spec.name}' {spec.dtype} {shape_text(spec.shape)}" for spec in inputs)
        raise FaceterError(
            ProblemKind.DATASET_MISMATCH,
            f"The signals are [{channels}, {length}] (channels, length), so they are for a model with one input "
            f"[N, {channels}, {length}] of floats; this one takes {specs}.",
        )

    def batches(
        self, batch: int, *, model_labels: Sequence[str] | None = None, indices: Sequence[int] | None = None
    ) -> Iterator[Batch]:
        """Yield signals as a model's input, in order, one batch at a time; the last may be smaller.

        The file is read once if the indices ascend, and again wherever a batch goes back.

        Args:
            batch: Signals at a time.
            model_labels: The model's labels, in whose order classes are numbered; the dataset's own if not given.
            indices: Which signals, in this order; all if not given.

        Raises:
            FaceterError: ``DATASET_MISMATCH`` if a class of the dataset is none of the model's.
        """
        labels = self.sample_labels(model_labels)
        chosen = np.arange(len(self)) if indices is None else np.asarray(indices, np.int64)
        rows = self._archive.rows(self._samples)
        for part in np.array_split(chosen, range(batch, len(chosen), batch)) if len(chosen) else []:
            if part.min() < rows.next:
                rows = self._archive.rows(self._samples)
            yield Batch(rows.at(part).astype(np.float32, copy=False), part, None if labels is None else labels[part])

    def concepts(self, index: int) -> IntArray | None:
        """Return the concepts of each moment of a signal, int64 [M, length]; None if the dataset has none."""
        if CONCEPTS not in self._headers:
            return None
        rows = self._archive.rows(self._headers[CONCEPTS])
        rows.skip_to(index)
        return np.asarray(rows.take(1)[0], np.int64).reshape(self.most_concepts, -1)

    def all_concepts(self) -> IntArray:
        """Return the concepts of each moment of all signals, int64 [N, M, length]."""
        count, (_, length) = len(self), self.shape
        if CONCEPTS not in self._headers:
            return np.zeros((count, 0, length), np.int64)
        values = self._archive.rows(self._headers[CONCEPTS]).take(count)
        return np.asarray(values, np.int64).reshape(count, self.most_concepts, length)

    def _validate_axes(self, shape: tuple[int, ...]) -> None:
        if len(shape) != _RANK:
            raise invalid_dataset(
                f"'{SIGNALS}' must be [N, channels, length]; it is {list(shape)}. Signals of one channel are "
                "[N, 1, length]."
            )

    def _validate_size(self, header: ArrayHeader) -> None:
        _, channels, length = header.shape
        if channels * length * header.dtype.itemsize > _MAX_SIGNAL_BYTES:
            raise invalid_dataset(
                f"One signal has {channels} × {length} values of {header.dtype.itemsize} bytes; at most "
                f"{_MAX_SIGNAL_BYTES:,} bytes are allowed. Cut signals into shorter ones."
            )

    def _read_concept_names(self) -> list[str]:
        names = read_names(self._archive, CONCEPT_NAMES) if CONCEPT_NAMES in self._headers else None
        header = self._headers.get(CONCEPTS)
        if header is None:
            if names is not None:
                self.warnings.append(f"ignored, there are no '{CONCEPTS}': '{CONCEPT_NAMES}'")
            return []
        if names is None:
            raise invalid_dataset(f"'{CONCEPTS}' needs '{CONCEPT_NAMES}', the k-th of which is the name of number k.")
        many = len(header.shape) == _RANK and header.shape[1] > 0
        shape = (len(self), header.shape[1], self.shape[1]) if many else (len(self), self.shape[1])
        validate_integers(header, shape, "one whole number for each moment of each signal")
        validate_order(header, "signals")
        return names


def signals_file(
    signals: ArrayLike, labels: Sequence[int] | IntArray | None = None, classes: Sequence[str] | None = None
) -> bytes:
    """Return the file of a dataset of signals; equal arguments give equal bytes.

    Args:
        signals: [N, channels, length]; saved as float32.
        labels: Class of each signal, [N].
        classes: Names of the classes, [K].
    """
    arrays: dict[str, NDArray[Any]] = {SIGNALS: np.ascontiguousarray(signals, np.float32)}
    if labels is not None:
        arrays[LABELS] = np.asarray(labels, np.int64)
    if classes is not None:
        arrays[CLASSES] = np.asarray(classes, np.str_)
    file = BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def _validate_finite(values: NDArray[Any], start: int) -> None:
    with np.errstate(over="ignore"):
        wrong = np.argwhere(~np.isfinite(values.astype(np.float32)))
    if len(wrong):
        sample, channel, moment = wrong[0].tolist()
        value = float(values[sample, channel, moment])
        shown = f"{value:g}, beyond float32" if np.isfinite(value) else f"{value:g}"
        raise invalid_dataset(
            f"{SIGNALS}[{start + sample}, {channel}, {moment}] is {shown}; every value must be finite."
        )
