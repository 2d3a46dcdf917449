"""Datasets: validate and store an upload, list, delete."""

from typing import BinaryIO

from app.services.creation import creation_id
from app.services.datasets.sample_images import check_sample, reduced_png, sample_of
from app.services.records import RecordService
from faceter.contracts.base import utc_now
from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.errors import FaceterError
from faceter.datasets.kinds import verify_dataset
from faceter.datasets.samples import DatasetContents
from faceter.resources import DATASETS


class DatasetService(RecordService[Dataset]):
    """Manages datasets."""

    resource = DATASETS

    def add(self, file: BinaryIO, name: str, kind: DatasetKind, paired: bool | None = None) -> Dataset:
        """Validate and store an upload; nothing is stored if validation fails.

        Args:
            file: The dataset's file.
            paired: Whether images of two domains are pairs; None for other kinds. See `parse_paired`.

        Raises:
            FaceterError: For an invalid file (see `faceter.datasets.kinds.verify_dataset`), `STORAGE_FULL`.
        """
        blob = self.library.store_blob(file)
        try:
            content = self._check(blob.sha256, kind, paired=bool(paired))
            return self.library.add(
                Dataset(
                    id=creation_id(self.resource.prefix),
                    name=name,
                    kind=kind,
                    created_at=utc_now(),
                    sha256=blob.sha256,
                    bytes=blob.bytes,
                    samples=content.samples,
                    classes=content.classes,
                    class_counts=content.class_counts,
                    concepts=content.concepts,
                    paired=paired,
                    warnings=content.warnings,
                )
            )
        except BaseException:
            self.library.discard_blob(blob.sha256)
            raise

    def deleted(self, record: Dataset) -> None:
        """Close the file of a deleted dataset."""
        self.core.open_datasets.drop(record.sha256)

    def sample_image(self, id: str, index: int, max_side: int) -> bytes:
        """Return a sample as a PNG file; see `reduced_png`.

        Raises:
            FaceterError: `NOT_FOUND`, `NOT_ACCEPTABLE`; see `check_sample`.
        """
        with self.reading(id) as dataset:
            check_sample(dataset, index)
            path = self.library.blobs.path(dataset.sha256)
            with self.core.open_datasets.reading(path, dataset) as opened:
                image = sample_of(opened, index)
        return reduced_png(image, max_side)

    def _check(self, sha256: str, kind: DatasetKind, *, paired: bool) -> DatasetContents:
        try:
            return verify_dataset(self.library.blobs.path(sha256), kind, self.settings, paired=paired)
        except FaceterError as error:
            raise error.at("file") from error
