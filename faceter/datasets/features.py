"""Datasets of kind ``features``: an ``.npz`` of vectors, as some extractor gave them, with classes or without."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceter.datasets.array_dataset import ArrayDataset
from faceter.datasets.arrays import ArrayHeader, invalid
from faceter.datasets.labels import CLASSES, LABELS
from faceter.datasets.samples import DatasetSummary, ProgressFunction

FEATURES = "features"

_RANK = 2
_MAX_ROW_BYTES = 1 << 24


class FeaturesDataset(ArrayDataset):
    """Feature vectors of one width, in the order of the file, read only when asked for.

    ``features`` [N, D] are floats. ``labels`` [N], if there are any, number the classes from 0; ``classes`` [K] names
    them. At most a few vectors and the labels are in memory at any time. Reading is safe from several threads at once.
    """

    array = FEATURES
    arrays = (FEATURES, LABELS, CLASSES)
    sample = "row of features"
    rows = "rows"

    @property
    def width(self) -> int:
        """D, values of each vector."""
        return self._samples.shape[1]

    @property
    def dtype(self) -> np.dtype[Any]:
        """What they are saved as, in the byte order of this machine."""
        return self._samples.dtype.newbyteorder("=")

    def verify(self, progress: ProgressFunction | None = None) -> DatasetSummary:
        """Read every value once and say what the dataset holds; see `ArrayDataset.verify`."""
        for start, values in self._blocks(self._samples, progress):
            wrong = np.argwhere(~np.isfinite(values))
            if len(wrong):
                row, column = wrong[0].tolist()
                said = f"{float(values[row, column]):g}"
                raise invalid(f"{FEATURES}[{start + row}, {column}] is {said}; every value must be finite.")
        return self.summary()

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Yield all vectors in order, a few MiB of them at a time, [B, D] in ``dtype``.

        Raises:
            FaceterError: ``INVALID_ARCHIVE`` after the last of them if the file is damaged.
        """
        for _, values in self._blocks(self._samples):
            yield values.astype(self.dtype, copy=False)

    def _check_axes(self, shape: tuple[int, ...]) -> None:
        if len(shape) != _RANK:
            raise invalid(
                f"'{FEATURES}' must be [N, D], a row for each sample; it is {list(shape)}. Average or flatten what has "
                "more axes."
            )

    def _check_size(self, header: ArrayHeader) -> None:
        if header.shape[1] * header.dtype.itemsize > _MAX_ROW_BYTES:
            raise invalid(
                f"One row has {header.shape[1]:,} values of {header.dtype.itemsize} bytes; at most {_MAX_ROW_BYTES:,} "
                "bytes are taken. Project features to fewer before."
            )
