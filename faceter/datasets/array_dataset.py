"""What datasets in an ``.npz`` share: samples that are the rows of one array of floats, with classes or without."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.settings import Settings
from faceter.datasets.arrays import ArrayArchive, ArrayHeader, check_order, invalid
from faceter.datasets.labels import Labels
from faceter.datasets.samples import DatasetSummary, ProgressFunction, first_few
from faceter.vision.boxes import IntArray

FLOATS: Final = ("float16", "float32", "float64")
"""What samples may be saved as."""

_BLOCK_BYTES = 1 << 23


class ArrayDataset(ABC):
    """Samples of one shape, in the order of the file, read only when asked for.

    Args:
        archive: The arrays; closed together with the dataset.

    Raises:
        FaceterError: ``INVALID_DATASET`` naming the array at fault.
    """

    array: ClassVar[str]
    """The array that holds the samples."""
    arrays: ClassVar[tuple[str, ...]]
    """All arrays that are known, that one first."""
    sample: ClassVar[str]
    """What one sample is called."""
    rows: ClassVar[str]
    """What several are called."""

    def __init__(self, archive: ArrayArchive) -> None:
        self._archive = archive
        names = archive.names
        if self.array not in names:
            raise invalid(f"There is no array '{self.array}', only {first_few(names) if names else 'other files'}.")
        self._headers = {name: archive.header(name) for name in self.arrays if name in names}
        self._samples = self._headers[self.array]
        self._check_samples()
        self.notes: list[str] = [*archive.notes]
        strangers = [name for name in names if name not in self.arrays] + archive.others
        if strangers:
            self.notes.append(f"passed over, not known: {first_few(strangers)}")
        self._labels = Labels.read(archive, len(self), self.notes, what=self.sample)
        self.labels: IntArray | None = self._labels.labels
        """int64 [N]: class of each sample; None if there are none."""
        self.classes: list[str] = self._labels.classes
        """Names of the classes; empty if the samples are not labelled."""

    @classmethod
    def open(cls, path: Path, settings: Settings) -> Self:
        """Open the dataset in an ``.npz``, without reading its samples.

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
        return self._samples.shape[0]

    @abstractmethod
    def verify(self, progress: ProgressFunction | None = None) -> DatasetSummary:
        """Read every value once, one block after the other, and say what the dataset holds.

        Args:
            progress: Is told the fraction done.

        Raises:
            FaceterError: ``INVALID_DATASET`` naming the first value that cannot be, or that the file is damaged.
        """

    def summary(self) -> DatasetSummary:
        """Say how many samples there are, in all and of each class."""
        return self._labels.summary(len(self), self.notes)

    def close(self) -> None:
        """Close the file."""
        self._archive.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @abstractmethod
    def _check_axes(self, shape: tuple[int, ...]) -> None:
        """See that the array of samples has as many axes as it should."""

    @abstractmethod
    def _check_size(self, header: ArrayHeader) -> None:
        """See that one sample is not too large."""

    def _check_samples(self) -> None:
        header = self._samples
        if header.dtype.name not in FLOATS:
            raise invalid(
                f"'{header.name}' must be float16, float32 or float64; it is {header.dtype.name}. Save it as "
                f"{header.name}.astype('float32')."
            )
        self._check_axes(header.shape)
        if 0 in header.shape:
            raise invalid(f"'{header.name}' is empty: {list(header.shape)}.")
        self._check_size(header)
        check_order(header, self.rows)

    def _blocks(
        self, header: ArrayHeader, progress: ProgressFunction | None = None
    ) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield all rows of an array in blocks of a few MiB, each with the index of its first row."""
        total = header.shape[0]
        one = int(np.prod(header.shape[1:])) * header.dtype.itemsize
        size = max(1, _BLOCK_BYTES // one)
        rows = self._archive.rows(header)
        for start in range(0, total, size):
            yield start, rows.take(min(size, total - start))
            if progress is not None:
                progress(rows.next / total)
        rows.finish()
