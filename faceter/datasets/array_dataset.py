"""Datasets in an ``.npz``: samples are the rows of one array of floats, with or without classes."""

from abc import abstractmethod
from typing import ClassVar, Final

from faceter.datasets.arrays import ArrayArchive, ArrayHeader, validate_order
from faceter.datasets.errors import invalid_dataset, quoted_names
from faceter.datasets.labelled_arrays import LabelledArrays
from faceter.datasets.labels import Labels

FLOATS: Final = ("float16", "float32", "float64")
"""Dtypes that samples may have in the file."""


class ArrayDataset(LabelledArrays):
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
        super().__init__(archive)
        names = archive.names
        if self.samples_array not in names:
            present = quoted_names(names) if names else "other files"
            raise invalid_dataset(f"There is no array '{self.samples_array}', only {present}.")
        self._headers = {name: archive.header(name) for name in self.known_arrays if name in names}
        self._samples = self._headers[self.samples_array]
        self._validate_samples()
        unknown = [name for name in names if name not in self.known_arrays] + archive.others
        if unknown:
            self.warnings.append(f"ignored, unknown: {quoted_names(unknown)}")
        self._labels = Labels.read(archive, len(self), self.warnings, sample_name=self.sample_name)

    def __len__(self) -> int:
        return self._samples.shape[0]

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
