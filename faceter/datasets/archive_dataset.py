"""The base of datasets that are a zip archive: they open it, and close it with themselves."""

from pathlib import Path
from typing import Self

from faceter.contracts.settings import Settings
from faceter.datasets.archive import SafeArchive, open_archive
from faceter.datasets.reader import DatasetReader, owned_by


class ArchiveDataset(DatasetReader):
    """The files of an archive, read on demand.

    Args:
        archive: Closed together with the dataset.
        settings: Limits.
    """

    def __init__(self, archive: SafeArchive, settings: Settings) -> None:
        self.archive = archive
        self.max_pixels = settings.max_pixels
        self.warnings = list(archive.warnings)

    @classmethod
    def open(cls, path: Path, settings: Settings) -> Self:
        """Open a zip file without reading its samples; see `DatasetReader.open`."""
        return owned_by(open_archive(path, settings), lambda archive: cls(archive, settings))

    def close(self) -> None:
        """Close the archive."""
        self.archive.close()
