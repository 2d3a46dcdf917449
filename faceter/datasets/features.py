"""Datasets of kind ``features``: an ``.npz`` of feature vectors, with or without classes."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceter.datasets.array_dataset import ArrayDataset
from faceter.datasets.arrays import ArrayHeader
from faceter.datasets.errors import invalid_dataset
from faceter.datasets.labels import CLASSES, LABELS
from faceter.datasets.samples import DatasetContents, ProgressFunction

FEATURES = "features"

_RANK = 2
_MAX_ROW_BYTES = 1 << 24


class FeaturesDataset(ArrayDataset):
    """Feature vectors of one dimension, in the order of the file, read on demand.

    ``features`` [N, D] are floats. ``labels`` [N], if there are any, number the classes from 0; ``classes`` [K] names
    them. At most a few vectors and the labels are in memory at any time. Reading is safe from several threads at once.
    """

    not_model_inputs = "The dataset holds features, which are no inputs of a model. Give images or signals."
    samples_array = FEATURES
    known_arrays = (FEATURES, LABELS, CLASSES)
    sample_name = "row of features"
    samples_name = "rows"

    @property
    def width(self) -> int:
        """D, the dimension of the feature space."""
        return self._samples.shape[1]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype in the file, in the byte order of this machine."""
        return self._samples.dtype.newbyteorder("=")

    def verify(self, progress: ProgressFunction | None = None) -> DatasetContents:
        """Check that all values are finite; see `DatasetReader.verify`."""
        for start, values in self._blocks(self._samples, progress):
            wrong = np.argwhere(~np.isfinite(values))
            if len(wrong):
                row, column = wrong[0].tolist()
                value = f"{float(values[row, column]):g}"
                raise invalid_dataset(f"{FEATURES}[{start + row}, {column}] is {value}; every value must be finite.")
        return self.summary()

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Yield all vectors in order, a few MiB of them at a time, [B, D] in ``dtype``.

        Raises:
            FaceterError: ``INVALID_ARCHIVE`` after the last of them if the file is damaged.
        """
        for _, values in self._blocks(self._samples):
            yield values.astype(self.dtype, copy=False)

    def _validate_axes(self, shape: tuple[int, ...]) -> None:
        if len(shape) != _RANK:
            raise invalid_dataset(
                f"'{FEATURES}' must be [N, D], a row for each sample; it is {list(shape)}. Average or flatten what has "
                "more axes."
            )

    def _validate_size(self, header: ArrayHeader) -> None:
        if header.shape[1] * header.dtype.itemsize > _MAX_ROW_BYTES:
            raise invalid_dataset(
                f"One row has {header.shape[1]:,} values of {header.dtype.itemsize} bytes; at most {_MAX_ROW_BYTES:,} "
                "bytes are allowed. Project features to fewer dimensions first."
            )
