"""Datasets in an ``.npz``: samples are the rows of one array of floats, with or without classes."""

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.settings import Settings
from faceter.datasets.arrays import ArrayArchive, ArrayHeader, validate_order
from faceter.datasets.errors import invalid_dataset, quoted_names
from faceter.datasets.labels import Labels
from faceter.datasets.reader import DatasetReader
from faceter.datasets.samples import DatasetContents, ProgressFunction
from faceter.vision.boxes import IntArray

FLOATS: Final = ("float16", "float32", "float64")
"""Dtypes that samples may have in the file."""

_BLOCK_BYTES = 1 << 23


class ArrayDataset(DatasetReader):
    """Samples of one shape, in the order of the file, read on demand.

    Args:
        archive: Closed together with the dataset.

    Raises:
        FaceterError: ``INVALID_DATASET`` naming the array at fault.
    """

    samples_array: ClassVar[str]
    """Name of the array with the samples."""
    known_arrays: ClassVar[tuple[str, ...]]
    """Names of all arrays of this kind."""
    sample_name: ClassVar[str]
    """What problem details call one sample."""
    samples_name: ClassVar[str]
    """What they call several."""

    def __init__(self, archive: ArrayArchive) -> None:
        self._archive = archive
        names = archive.names
        if self.samples_array not in names:
            present = quoted_names(names) if names else "other files"
            raise invalid_dataset(f"There is no array '{self.samples_array}', only {present}.")
        self._headers = {name: archive.header(name) for name in self.known_arrays if name in names}
        self._samples = self._headers[self.samples_array]
        self._validate_samples()
        self.warnings = list(archive.warnings)
        unknown = [name for name in names if name not in self.known_arrays] + archive.others
        if unknown:
            self.warnings.append(f"ignored, unknown: {quoted_names(unknown)}")
        self._labels = Labels.read(archive, len(self), self.warnings, sample_name=self.sample_name)
        self.labels: IntArray | None = self._labels.labels
        """int64 [N]: class of each sample; None if there are none."""
        self.classes: list[str] = self._labels.classes
        """Names of the classes; empty if the samples are not labelled."""

    @classmethod
    def open(cls, path: Path, settings: Settings) -> Self:
        """Open an ``.npz``; see `DatasetReader.open`."""
        archive = ArrayArchive(path, settings)
        try:
            return cls(archive)
        except BaseException:
            archive.close()
            raise

    def __len__(self) -> int:
        return self._samples.shape[0]

    def summary(self) -> DatasetContents:
        """Return the number of samples, in all and of each class."""
        return self._labels.summary(len(self), self.warnings)

    def close(self) -> None:
        """Close the file."""
        self._archive.close()

    @abstractmethod
    def _validate_axes(self, shape: tuple[int, ...]) -> None:
        """Check the number of axes of the array of samples."""

    @abstractmethod
    def _validate_size(self, header: ArrayHeader) -> None:
        """Check that one sample is not too large."""

    def _validate_samples(self) -> None:
        header = self._samples
        if header.dtype.name not in FLOATS:
            raise invalid_dataset(
                f"'{header.name}' must be float16, float32 or float64; it is {header.dtype.name}. Save it as "
                f"{header.name}.astype('float32')."
            )
        self._validate_axes(header.shape)
        if 0 in header.shape:
            raise invalid_dataset(f"'{header.name}' is empty: {list(header.shape)}.")
        self._validate_size(header)
        validate_order(header, self.samples_name)

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
