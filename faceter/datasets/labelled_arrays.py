"""The base of datasets in an ``.npz``: they own the file, read blocks of rows, and know the samples' classes."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.settings import Settings
from faceter.datasets.arrays import ArrayArchive, ArrayHeader
from faceter.datasets.labels import Labels
from faceter.datasets.reader import DatasetReader, owned_by
from faceter.datasets.samples import DatasetContents, ProgressFunction
from faceter.vision.boxes import IntArray

_BLOCK_BYTES = 1 << 23


class LabelledArrays(DatasetReader):
    """Arrays whose rows are samples, with or without classes.

    Args:
        archive: Closed together with the dataset.
    """

    _labels: Labels

    def __init__(self, archive: ArrayArchive) -> None:
        self._archive = archive
        self.warnings = list(archive.warnings)

    @classmethod
    def open(cls, path: Path, settings: Settings) -> Self:
        """Open an ``.npz``; see `DatasetReader.open`."""
        return owned_by(ArrayArchive(path, settings), cls)

    @property
    def labels(self) -> IntArray | None:
        """int64 [N]: class of each sample by its position in ``classes``; None if there are none."""
        return self._labels.labels

    @property
    def classes(self) -> list[str]:
        """Names of the classes; empty if the samples are not labelled."""
        return self._labels.classes

    @property
    def numbered(self) -> bool:
        """Whether classes have no names, and so are positions in the model's output."""
        return self._labels.numbered

    def class_positions(self) -> IntArray | None:
        """Return the class of each sample by its position in ``classes``, int64 [N]; None without labels."""
        return self.labels

    def sample_labels(self, model_labels: Sequence[str] | None) -> IntArray | None:
        """Return the class of each sample, numbered in the order of the model's labels.

        Args:
            model_labels: The model's labels; without them the file's own numbers are taken.

        Returns:
            int64 [N], or None if the samples are not labelled.

        Raises:
            FaceterError: ``DATASET_MISMATCH`` naming the classes that are none of the labels.
        """
        return self._labels.in_model_order(model_labels)

    def labels_for(self, model_labels: Sequence[str] | None) -> list[int] | None:
        """Return ``sample_labels(model_labels)`` as a list."""
        labels = self.sample_labels(model_labels)
        return None if labels is None else [int(label) for label in labels]

    def summary(self) -> DatasetContents:
        """Return the number of samples, in all and of each class."""
        return self._labels.summary(len(self), self.warnings)

    def close(self) -> None:
        """Close the file."""
        self._archive.close()

    def _blocks(
        self, header: ArrayHeader, progress: ProgressFunction | None = None
    ) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield all rows of an array in blocks of a few MiB, each with the index of its first row."""
        total = header.shape[0]
        row_bytes = int(np.prod(header.shape[1:])) * header.dtype.itemsize
        size = max(1, _BLOCK_BYTES // row_bytes)
        rows = self._archive.rows(header)
        for start in range(0, total, size):
            yield start, rows.take(min(size, total - start))
            if progress is not None:
                progress(rows.next / total)
        rows.finish()
