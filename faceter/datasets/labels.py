"""Classes of the samples of an ``.npz``: whole numbers, with names or without."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.base import check_name
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.datasets.arrays import ArrayArchive, ArrayHeader, invalid
from faceter.datasets.samples import DatasetSummary, first_few
from faceter.vision.boxes import IntArray

LABELS, CLASSES = "labels", "classes"
"""The arrays: [N] and [K]."""

_MOST_CLASSES = 100_000
_MAX_LABEL_BYTES = 1 << 28
_MAX_NAME_BYTES = 1 << 26


@dataclass(frozen=True)
class Labels:
    """The classes of some samples.

    ``labels`` [N], if there are any, number the classes from 0; ``classes`` [K] names them, and without names they are
    called "0", "1", … and mean the model's first, second, … output.
    """

    labels: IntArray | None
    """int64 [N]: class of each sample; None if there are none."""
    classes: list[str]
    """Names of the classes; empty if the samples are not labelled."""
    numbered: bool
    """Whether classes have no names, and so are numbered as the model's outputs are."""

    @classmethod
    def read(cls, archive: ArrayArchive, samples: int, notes: list[str], *, what: str) -> "Labels":
        """Read the arrays ``labels`` and ``classes``, as far as there are such.

        Args:
            archive: Has them.
            samples: N.
            notes: What is passed over is added here.
            what: What one sample is called.

        Raises:
            FaceterError: ``INVALID_DATASET`` naming the array at fault.
        """
        numbered = CLASSES not in archive.names
        labels = _read_labels(archive, samples, what) if LABELS in archive.names else None
        named = None if numbered else read_names(archive, CLASSES)
        if labels is None:
            if named is not None:
                notes.append(f"passed over, there are no '{LABELS}': '{CLASSES}'")
            return cls(None, [], numbered)
        if named is None:
            return cls(labels, [str(number) for number in range(int(labels.max()) + 1)], numbered)
        check_numbers(labels, LABELS, len(named), f"'{CLASSES}' names")
        return cls(labels, named, numbered)

    def summary(self, samples: int, notes: Sequence[str]) -> DatasetSummary:
        """Say how many samples there are, in all and of each class."""
        counts = [] if self.labels is None else np.bincount(self.labels, minlength=len(self.classes)).tolist()
        return DatasetSummary(
            samples=samples,
            classes=list(self.classes),
            class_counts=dict(zip(self.classes, counts, strict=True)),
            notes=list(notes),
        )

    def as_model_has_them(self, model_labels: Sequence[str] | None) -> IntArray | None:
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
        known = range(len(model_labels)) if self.numbered else {label: i for i, label in enumerate(model_labels)}
        numbers = [_position(known, number, name) for number, name in enumerate(self.classes)]
        used = np.unique(self.labels).tolist()
        strangers = [self.classes[number] for number in used if numbers[number] < 0]
        if strangers:
            raise FaceterError(
                ProblemKind.DATASET_MISMATCH,
                f"Classes that are no labels of the model: {first_few(strangers)}. "
                f"Its labels are {first_few(list(model_labels))}"
                + (f", numbered 0 to {len(model_labels) - 1}." if self.numbered else "."),
            )
        numbered: IntArray = np.array(numbers, np.int64)[self.labels]
        return numbered


def read_names(archive: ArrayArchive, name: str) -> list[str]:
    """Return an array of text as names, each of 1 to 200 printable characters and all different.

    Raises:
        FaceterError: ``INVALID_DATASET``.
    """
    header = archive.header(name)
    if len(header.shape) != 1 or header.dtype.kind not in "US":
        raise invalid(f"'{name}' must be a list of text, [K]; it is {header.described}.")
    if not 1 <= header.shape[0] <= _MOST_CLASSES:
        raise invalid(f"'{name}' holds {header.shape[0]:,} names; it must be 1 to {_MOST_CLASSES:,}.")
    values = archive.read(header, max_bytes=_MAX_NAME_BYTES)
    names: list[str] = []
    for index in range(len(values)):
        try:
            text = values[index]
            names.append(check_name(text.decode() if isinstance(text, bytes) else str(text)))
        except ValueError as error:
            raise invalid(f"{name}[{index}] is not a name of 1 to 200 printable characters.") from error
    if len(set(names)) < len(names):
        twice, _ = Counter(names).most_common(1)[0]
        raise invalid(f"'{name}' names '{twice}' twice.")
    return names


def check_integers(header: ArrayHeader, shape: tuple[int, ...], what: str) -> None:
    """See that an array holds whole numbers and has a shape.

    Raises:
        FaceterError: ``INVALID_DATASET``.
    """
    if header.shape != shape:
        raise invalid(f"'{header.name}' must be {what}, {list(shape)}; it is {list(header.shape)}.")
    if header.dtype.kind not in "iu":
        raise invalid(f"'{header.name}' must be {what}; it is {header.dtype.name}.")


def check_numbers(values: NDArray[Any], name: str, count: int, who: str, start: int = 0) -> None:
    """See that values are whole numbers from 0 to ``count`` − 1.

    Raises:
        FaceterError: ``INVALID_DATASET`` naming the first that is not.
    """
    wrong = np.argwhere((values < 0) | (values >= count))
    if len(wrong):
        first = wrong[0].tolist()
        place = ", ".join(str(index) for index in (start + first[0], *first[1:]))
        raise invalid(f"{name}[{place}] is {values[tuple(first)]}, but {who} 0 to {count - 1}.")


def _read_labels(archive: ArrayArchive, samples: int, what: str) -> IntArray:
    header = archive.header(LABELS)
    check_integers(header, (samples,), f"one whole number for each {what}")
    labels: NDArray[Any] = archive.read(header, max_bytes=_MAX_LABEL_BYTES)
    check_numbers(labels, LABELS, _MOST_CLASSES, "labels are")
    return np.asarray(labels, np.int64)


def _position(known: range | dict[str, int], number: int, name: str) -> int:
    if isinstance(known, range):
        return number if number in known else -1
    return known.get(name, -1)
