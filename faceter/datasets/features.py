"""Data sets of kind ``features``: an ``.npz`` of vectors, as some extractor gave them, with classes or without."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.settings import Settings
from faceter.datasets.arrays import ArrayArchive, ArrayHeader, check_order, invalid
from faceter.datasets.labels import CLASSES, LABELS, Labels
from faceter.datasets.samples import DatasetSummary, ProgressFunction, first_few
from faceter.vision.boxes import IntArray

FEATURES = "features"
ARRAYS = (FEATURES, LABELS, CLASSES)
"""The arrays of the file: [N, D], [N] and [K]."""

_RANK = 2
_FLOATS = ("float16", "float32", "float64")
_MAX_ROW_BYTES = 1 << 24
_BLOCK_BYTES = 1 << 23


class FeaturesDataset:
    """Feature vectors of one width, in the order of the file, read only when asked for.

    ``features`` [N, D] are floats. ``labels`` [N], if there are any, number the classes from 0; ``classes`` [K] names
    them. At most a few vectors and the labels are in memory at any time. Reading is safe from several threads at once.

    Args:
        archive: The arrays; closed together with the data set.

    Raises:
        FaceterError: ``INVALID_DATASET`` naming the array at fault.
    """

    def __init__(self, archive: ArrayArchive) -> None:
        self._archive = archive
        names = archive.names
        if FEATURES not in names:
            raise invalid(f"There is no array '{FEATURES}', only {first_few(names) if names else 'other files'}.")
        self._features = _checked(archive.header(FEATURES))
        self.notes: list[str] = [*archive.notes]
        strangers = [name for name in names if name not in ARRAYS] + archive.others
        if strangers:
            self.notes.append(f"passed over, not known: {first_few(strangers)}")
        found = Labels.read(archive, len(self), self.notes, what="row of features")
        self._labels = found
        self.labels: IntArray | None = found.labels
        """int64 [N]: class of each vector; None if there are none."""
        self.classes: list[str] = found.classes
        """Names of the classes; empty if the vectors are not labelled."""

    @classmethod
    def open(cls, path: Path, settings: Settings) -> Self:
        """Open the data set in an ``.npz``, without reading its vectors.

        Raises:
            FaceterError: If the file is not safe, or has not the form of this kind.
        """
        archive = ArrayArchive(path, settings)
        try:
            return cls(archive)
        except BaseException:
            archive.close()
            raise

    def __len__(self) -> int:
        return self._features.shape[0]

    @property
    def width(self) -> int:
        """D, values of each vector."""
        return self._features.shape[1]

    @property
    def dtype(self) -> np.dtype[Any]:
        """What they are saved as, in the byte order of this machine."""
        return self._features.dtype.newbyteorder("=")

    def verify(self, progress: ProgressFunction | None = None) -> DatasetSummary:
        """Read every value once, one block after the other, and say what the data set holds.

        Args:
            progress: Is told the fraction done.

        Raises:
            FaceterError: ``INVALID_DATASET`` naming the first value that cannot be, or that the file is damaged.
        """
        done = 0
        for values in self.blocks():
            wrong = np.argwhere(~np.isfinite(values))
            if len(wrong):
                row, column = wrong[0].tolist()
                said = f"{float(values[row, column]):g}"
                raise invalid(f"{FEATURES}[{done + row}, {column}] is {said}; every value must be finite.")
            done += len(values)
            if progress is not None:
                progress(done / len(self))
        return self.summary()

    def summary(self) -> DatasetSummary:
        """Say how many vectors there are, in all and of each class."""
        return self._labels.summary(len(self), self.notes)

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Yield all vectors in order, a few MiB of them at a time, [B, D] in ``dtype``.

        Raises:
            FaceterError: ``INVALID_ARCHIVE`` after the last of them if the file is damaged.
        """
        size = max(1, _BLOCK_BYTES // (self.width * self.dtype.itemsize))
        rows = self._archive.rows(self._features)
        for start in range(0, len(self), size):
            yield rows.take(min(size, len(self) - start)).astype(self.dtype, copy=False)
        rows.finish()

    def close(self) -> None:
        """Close the file."""
        self._archive.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _checked(header: ArrayHeader) -> ArrayHeader:
    if header.dtype.name not in _FLOATS:
        raise invalid(
            f"'{FEATURES}' must be float16, float32 or float64; it is {header.dtype.name}. Save it as "
            "features.astype('float32')."
        )
    if len(header.shape) != _RANK:
        raise invalid(
            f"'{FEATURES}' must be [N, D], a row for each sample; it is {list(header.shape)}. Average or flatten what "
            "has more axes."
        )
    if 0 in header.shape:
        raise invalid(f"'{FEATURES}' is empty: {list(header.shape)}.")
    if header.shape[1] * header.dtype.itemsize > _MAX_ROW_BYTES:
        raise invalid(
            f"One row has {header.shape[1]:,} values of {header.dtype.itemsize} bytes; at most {_MAX_ROW_BYTES:,} "
            "bytes are taken. Project features to fewer before."
        )
    check_order(header, "rows")
    return header
