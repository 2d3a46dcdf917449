"""Classes of the samples of an ``.npz``: whole numbers, with or without names."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.base import check_name, composed
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.datasets.arrays import ArrayArchive, ArrayHeader
from faceter.datasets.errors import invalid_dataset, quoted_names
from faceter.datasets.names import label_positions
from faceter.datasets.samples import DatasetContents
from faceter.vision.boxes import IntArray

LABELS, CLASSES = "labels", "classes"
"""The arrays: [N] and [K]."""

_MOST_CLASSES = 100_000
_MAX_LABEL_BYTES = 1 << 28
_MAX_NAME_BYTES = 1 << 26


@dataclass(frozen=True)
class Labels:
    """The classes of samples.

    ``labels`` [N], if there are any, number the classes from 0; ``classes`` [K] names them. Without names they are
    called "0", "1", … and stand for the model's first, second, … output.
    """

    labels: IntArray | None
    """int64 [N]: class of each sample; None if there are none."""
    classes: list[str]
    """Names of the classes; empty if the samples are not labelled."""
    numbered: bool
    """Whether classes have no names, and so are numbered as the model's outputs are."""

    @classmethod
    def read(cls, archive: ArrayArchive, samples: int, warnings: list[str], *, sample_name: str) -> "Labels":
        """Read the arrays ``labels`` and ``classes``, both optional.

        Args:
            archive: The dataset's file.
            samples: N.
            warnings: What is ignored is appended here.
            sample_name: What problem details call one sample.

        Raises:
            FaceterError: ``INVALID_DATASET`` naming the array at fault.
        """
        numbered = CLASSES not in archive.names
        labels = _read_labels(archive, samples, sample_name) if LABELS in archive.names else None
        named = None if numbered else read_names(archive, CLASSES)
        if labels is None:
            if named is not None:
                warnings.append(f"ignored, there are no '{LABELS}': '{CLASSES}'")
            return cls(None, [], numbered)
        if named is None:
            return cls(labels, [str(number) for number in range(int(labels.max()) + 1)], numbered)
        validate_range(labels, LABELS, len(named), f"'{CLASSES}' names")
        return cls(labels, named, numbered)

    def summary(self, samples: int, warnings: Sequence[str]) -> DatasetContents:
        """Return the number of samples, in all and of each class."""
        counts = [] if self.labels is None else np.bincount(self.labels, minlength=len(self.classes)).tolist()
        return DatasetContents(
            samples=samples,
            classes=list(self.classes),
            class_counts=dict(zip(self.classes, counts, strict=True)),
            warnings=list(warnings),
        )

    def in_model_order(self, model_labels: Sequence[str] | None) -> IntArray | None:
        """Return the class of each sample, numbered in the order of the model's labels.

        Args:
            model_labels: The model's labels; without them the file's own numbers are taken.

        Returns:
            int64 [N], or None if the samples are not labelled.

        Raises:
            FaceterError: ``DATASET_MISMATCH`` naming the classes that are none of the labels.
        """
        if self.labels is None or model_labels is None:
            return self.labels
        positions = range(len(model_labels)) if self.numbered else label_positions(model_labels)
        numbers = [_position(positions, number, name) for number, name in enumerate(self.classes)]
        used = np.unique(self.labels).tolist()
        unknown = [self.classes[number] for number in used if numbers[number] < 0]
        if unknown:
            raise FaceterError(
                ProblemKind.DATASET_MISMATCH,
                f"Classes that are no labels of the model: {quoted_names(unknown)}. "
                f"Its labels are {quoted_names(list(model_labels))}"
                + (f", numbered 0 to {len(model_labels) - 1}." if self.numbered else "."),
            )
        in_order: IntArray = np.array(numbers, np.int64)[self.labels]
        return in_order


def read_names(archive: ArrayArchive, name: str) -> list[str]:
    """Return an array of text as names, each of 1 to 200 printable characters and all different.

    Raises:
        FaceterError: ``INVALID_DATASET``.
    """
    header = archive.header(name)
    if len(header.shape) != 1 or header.dtype.kind not in "US":
        raise invalid_dataset(f"'{name}' must be a list of text, [K]; it is {header.described}.")
    if not 1 <= header.shape[0] <= _MOST_CLASSES:
        raise invalid_dataset(f"'{name}' holds {header.shape[0]:,} names; it must be 1 to {_MOST_CLASSES:,}.")
    values = archive.read(header, max_bytes=_MAX_NAME_BYTES)
    names: list[str] = []
    for index in range(len(values)):
        try:
            text = values[index]
            names.append(composed(check_name(text.decode() if isinstance(text, bytes) else str(text))))
        except ValueError as error:
            raise invalid_dataset(f"{name}[{index}] is not a name of 1 to 200 printable characters.") from error
    if len(set(names)) < len(names):
        duplicate, _ = Counter(names).most_common(1)[0]
        raise invalid_dataset(f"'{name}' names '{duplicate}' twice.")
    return names


def validate_integers(header: ArrayHeader, shape: tuple[int, ...], expected: str) -> None:
    """Check that an array holds whole numbers and has a shape.

    Raises:
        FaceterError: ``INVALID_DATASET``.
    """
    if header.shape != shape:
        raise invalid_dataset(f"'{header.name}' must be {expected}, {list(shape)}; it is {list(header.shape)}.")
    if header.dtype.kind not in "iu":
        raise invalid_dataset(f"'{header.name}' must be {expected}; it is {header.dtype.name}.")


def validate_range(values: NDArray[Any], name: str, count: int, allowed_by: str, start: int = 0) -> None:
    """Check that values are from 0 to ``count`` − 1.

    Raises:
        FaceterError: ``INVALID_DATASET`` naming the first that is not.
    """
    wrong = np.argwhere((values < 0) | (values >= count))
    if len(wrong):
        first = wrong[0].tolist()
        index = ", ".join(str(part) for part in (start + first[0], *first[1:]))
        raise invalid_dataset(f"{name}[{index}] is {values[tuple(first)]}, but {allowed_by} 0 to {count - 1}.")


def _read_labels(archive: ArrayArchive, samples: int, sample_name: str) -> IntArray:
    header = archive.header(LABELS)
    validate_integers(header, (samples,), f"one whole number for each {sample_name}")
    labels: NDArray[Any] = archive.read(header, max_bytes=_MAX_LABEL_BYTES)
    validate_range(labels, LABELS, _MOST_CLASSES, "labels are")
    return np.asarray(labels, np.int64)


def _position(positions: range | dict[str, int], number: int, name: str) -> int:
    if isinstance(positions, range):
        return number if number in positions else -1
    return positions.get(name, -1)
