"""Datasets of kind ``signals``: an ``.npz`` of signals, with classes and moments of interest or without."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import TensorSpec
from faceter.datasets.array_dataset import FLOATS, ArrayDataset
from faceter.datasets.arrays import ArrayArchive, ArrayHeader, Rows, check_order, invalid
from faceter.datasets.labels import CLASSES, LABELS, check_integers, check_numbers, read_names
from faceter.datasets.samples import Batch, DatasetSummary, ProgressFunction
from faceter.vision.boxes import FloatArray, IntArray

SIGNALS, CONCEPTS, CONCEPT_NAMES = "signals", "concepts", "concept_names"
"""Arrays of the file: [N, channels, length], [N, length] and [J]."""

CONCEPT_CATEGORY = "signal"
"""Category of the concepts."""

_RANK = 3
_MAX_SIGNAL_BYTES = 1 << 26


class SignalsDataset(ArrayDataset):
    """Signals of one shape, in the order of the file, read only when asked for.

    ``signals`` [N, channels, length] are floats. ``labels`` [N], if there are any, number the classes from 0;
    ``classes`` [K] names them, and without names they are called "0", "1", … and mean the model's first, second, …
    output. ``concepts`` [N, length] say what is there at each moment: 0 for nothing, k for the k-th of
    ``concept_names``; [N, M, length] say up to M things of each moment. At most a few signals and the labels are in
    memory at any time. Reading is safe from several threads at once.
    """

    array = SIGNALS
    arrays = (SIGNALS, LABELS, CLASSES, CONCEPTS, CONCEPT_NAMES)
    sample = "signal"
    rows = "signals"

    def __init__(self, archive: ArrayArchive) -> None:
        super().__init__(archive)
        self.numbered = self._labels.numbered
        """Whether classes have no names, and so are numbered as the model's outputs are."""
        self.concept_names: list[str] = self._read_concept_names()
        """Names of the concepts, the first of which is number 1; empty if there are none."""

    @property
    def most_concepts(self) -> int:
        """How many concepts a moment may have at once."""
        header = self._headers.get(CONCEPTS)
        if header is None:
            return 0
        return header.shape[1] if len(header.shape) == _RANK else 1

    @property
    def shape(self) -> tuple[int, int]:
        """Channels and length of each signal."""
        _, channels, length = self._samples.shape
        return channels, length

    def verify(self, progress: ProgressFunction | None = None) -> DatasetSummary:
        """Read every value once and say what the dataset holds; see `ArrayDataset.verify`."""
        for start, values in self._blocks(self._samples, progress):
            _check_finite(values, start)
        if CONCEPTS in self._headers:
            for start, values in self._blocks(self._headers[CONCEPTS]):
                check_numbers(values, CONCEPTS, len(self.concept_names) + 1, f"'{CONCEPT_NAMES}' allow", start)
        return self.summary()

    def summary(self) -> DatasetSummary:
        """Say how many signals there are, in all and of each class, and which concepts."""
        concepts = {CONCEPT_CATEGORY: list(self.concept_names)} if self.concept_names else {}
        return replace(super().summary(), concepts=concepts)

    def sample_labels(self, model_labels: Sequence[str] | None) -> IntArray | None:
        """Return the class of each signal, numbered in the order of the model's labels.

        Args:
            model_labels: The model's labels; without them the file's own numbers are taken.

        Returns:
            int64 [N], or None if the signals are not labelled.

        Raises:
            FaceterError: ``DATASET_MISMATCH`` naming the classes that are none of the labels.
        """
        return self._labels.as_model_has_them(model_labels)

    def labels_for(self, model_labels: Sequence[str] | None) -> list[int] | None:
        """Return ``sample_labels(model_labels)`` as a list."""
        labels = self.sample_labels(model_labels)
        return None if labels is None else [int(label) for label in labels]

    def input_of(self, inputs: Sequence[TensorSpec]) -> TensorSpec:
        """Return the input of a model that the signals fit.

        Args:
            inputs: The model's inputs.

        Raises:
            FaceterError: ``DATASET_MISMATCH``, with both shapes, if there is none, or another one beside it.
        """
        channels, length = self.shape
        if len(inputs) == 1 and len(inputs[0].shape) == _RANK and inputs[0].dtype in FLOATS:
            sizes = zip(inputs[0].shape[1:], self.shape, strict=True)
            if all(takes == has or not isinstance(takes, int) for takes, has in sizes):
                return inputs[0]
        takes = ", ".join(f"'{spec.name}' {spec.dtype} {_shown(spec.shape)}" for spec in inputs)
        raise FaceterError(
            ProblemKind.DATASET_MISMATCH,
            f"The signals are [{channels}, {length}] (channels, length), so they are for a model with one input "
            f"[N, {channels}, {length}] of floats; this one takes {takes}.",
        )

    def batches(
        self, batch: int, *, model_labels: Sequence[str] | None = None, indices: Sequence[int] | None = None
    ) -> Iterator[Batch]:
        """Yield signals as a model's input, in order, one batch in memory at a time; the last may be smaller.

        The file is read once if the indices rise, and once more wherever a batch goes back.

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
            yield Batch(self._taken(rows, part), part, None if labels is None else labels[part])

    def concepts(self, index: int) -> IntArray | None:
        """Return what is there at each moment of a signal, int64 [M, length], or None where nothing is said."""
        if CONCEPTS not in self._headers:
            return None
        rows = self._archive.rows(self._headers[CONCEPTS])
        rows.skip_to(index)
        return np.asarray(rows.take(1)[0], np.int64).reshape(self.most_concepts, -1)

    def all_concepts(self) -> IntArray:
        """Return what is there at each moment of all signals, int64 [N, M, length], all of it in memory."""
        count, (_, length) = len(self), self.shape
        if CONCEPTS not in self._headers:
            return np.zeros((count, 0, length), np.int64)
        values = self._archive.rows(self._headers[CONCEPTS]).take(count)
        return np.asarray(values, np.int64).reshape(count, self.most_concepts, length)

    def _taken(self, rows: Rows, part: IntArray) -> FloatArray:
        """Return rows of ``signals`` as float32, read in rising order."""
        wanted, places = np.unique(part, return_inverse=True)
        taken = np.empty((len(wanted), *self.shape), np.float32)
        for run in np.split(np.arange(len(wanted)), np.flatnonzero(np.diff(wanted) > 1) + 1):
            rows.skip_to(int(wanted[run[0]]))
            taken[run] = rows.take(len(run))
        return taken[places]

    def _check_axes(self, shape: tuple[int, ...]) -> None:
        if len(shape) != _RANK:
            raise invalid(
                f"'{SIGNALS}' must be [N, channels, length]; it is {list(shape)}. Signals of one channel are "
                "[N, 1, length]."
            )

    def _check_size(self, header: ArrayHeader) -> None:
        _, channels, length = header.shape
        if channels * length * header.dtype.itemsize > _MAX_SIGNAL_BYTES:
            raise invalid(
                f"One signal has {channels} × {length} values of {header.dtype.itemsize} bytes; at most "
                f"{_MAX_SIGNAL_BYTES:,} bytes are taken. Cut signals into shorter ones."
            )

    def _read_concept_names(self) -> list[str]:
        named = read_names(self._archive, CONCEPT_NAMES) if CONCEPT_NAMES in self._headers else None
        header = self._headers.get(CONCEPTS)
        if header is None:
            if named is not None:
                self.notes.append(f"passed over, there are no '{CONCEPTS}': '{CONCEPT_NAMES}'")
            return []
        if named is None:
            raise invalid(f"'{CONCEPTS}' needs '{CONCEPT_NAMES}', the k-th of which says what the number k means.")
        many = len(header.shape) == _RANK and header.shape[1] > 0
        shape = (len(self), header.shape[1], self.shape[1]) if many else (len(self), self.shape[1])
        check_integers(header, shape, "one whole number for each moment of each signal")
        check_order(header, "signals")
        return named


def signals_file(
    signals: ArrayLike, labels: Sequence[int] | IntArray | None = None, classes: Sequence[str] | None = None
) -> bytes:
    """Return signals as the file of a dataset; equal arguments give equal bytes.

    Args:
        signals: [N, channels, length]; kept as float32.
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


def _check_finite(values: NDArray[Any], start: int) -> None:
    with np.errstate(over="ignore"):
        wrong = np.argwhere(~np.isfinite(values.astype(np.float32)))
    if len(wrong):
        sample, channel, moment = wrong[0].tolist()
        value = float(values[sample, channel, moment])
        said = f"{value:g}, beyond float32" if np.isfinite(value) else f"{value:g}"
        raise invalid(f"{SIGNALS}[{start + sample}, {channel}, {moment}] is {said}; every value must be finite.")


def _shown(shape: Sequence[int | str | None]) -> str:
    return "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]"
