"""Datasets: checking and keeping an upload, listing, deleting. Nothing here knows of HTTP."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO, Final

from pydantic import Field

from app.services.jobs.queue import JobQueue
from app.services.locks import check_unused, holding, lent
from app.services.record_files import contains, file_links
from faceter.contracts.base import Contract, Page, new_id, utc_now
from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.settings import Settings
from faceter.datasets.kinds import check
from faceter.datasets.samples import DatasetSummary
from faceter.store.library import Library


@dataclass(frozen=True)
class FileType:
    """What the file of a kind of dataset is to HTTP."""

    suffix: str
    """Ending of its name."""
    media_type: str
    """Its media type; that of any bytes where none is registered."""


FILE_TYPES: Final = {
    DatasetKind.IMAGES: FileType(".zip", "application/zip"),
    DatasetKind.DETECTION: FileType(".zip", "application/zip"),
    DatasetKind.CONCEPTS: FileType(".zip", "application/zip"),
    DatasetKind.TEXT_PAIRS: FileType(".zip", "application/zip"),
    DatasetKind.DOMAINS: FileType(".zip", "application/zip"),
    DatasetKind.SIGNALS: FileType(".npz", "application/octet-stream"),
    DatasetKind.FEATURES: FileType(".npz", "application/octet-stream"),
}
"""The file of each kind."""


class DatasetFilter(Contract):
    """Which datasets to list."""

    name: str | None = Field(default=None, min_length=1, max_length=200, examples=["cifar10"])
    """Only datasets whose name contains this, in upper or lower case."""
    kind: DatasetKind | None = None
    """Only datasets of this kind."""
    derived_from_id: str | None = Field(default=None, examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """Only datasets made from this model, such as the inputs that a quantization synthesized."""

    def wants(self, dataset: Dataset) -> bool:
        """Whether a dataset is one of those."""
        return (
            contains(self.name, dataset.name)
            and (self.kind is None or dataset.kind is self.kind)
            and (self.derived_from_id is None or dataset.derived_from_id == self.derived_from_id)
        )


class Datasets:
    """The datasets the service keeps. Every method blocks: it is to be called in a thread.

    Args:
        library: Where they are kept.
        queue: Asked whether a job needs one.
        settings: Limits.
    """

    def __init__(self, library: Library, queue: JobQueue, settings: Settings) -> None:
        self._library = library
        self._queue = queue
        self._settings = settings

    def add(self, file: BinaryIO, name: str, kind: DatasetKind, paired: bool | None = None) -> Dataset:
        """Check an upload and keep it; nothing is kept of one that fails a check.

        Args:
            file: The dataset's one file.
            name: What to call it.
            kind: What it holds.
            paired: Whether images of two domains are said to be pairs; None for other kinds. See `parse_paired`.

        Raises:
            FaceterError: Whatever is wrong with the file (see `faceter.datasets.kinds.check`), `STORAGE_FULL`.
        """
        blob = self._library.store_blob(file)
        try:
            found = self._check(blob.sha256, kind, paired=bool(paired))
            return self._library.add(
                Dataset(
                    id=new_id("dts"),
                    name=name,
                    kind=kind,
                    created_at=utc_now(),
                    sha256=blob.sha256,
                    bytes=blob.bytes,
                    samples=found.samples,
                    classes=found.classes,
                    class_counts=found.class_counts,
                    concepts=found.concepts,
                    paired=paired,
                    warnings=found.notes,
                )
            )
        except BaseException:
            self._library.discard_blob(blob.sha256)
            raise

    def _check(self, sha256: str, kind: DatasetKind, *, paired: bool) -> DatasetSummary:
        try:
            return check(self._library.blobs.path(sha256), kind, self._settings, paired=paired)
        except FaceterError as error:
            raise error.at("file") from error

    def get(self, id: str) -> Dataset:
        """Return a dataset.

        Raises:
            FaceterError: `NOT_FOUND`.
        """
        return self._library.datasets.get(id)

    def using(self, id: str) -> AbstractContextManager[Dataset]:
        """Lend a dataset for work on its files; see `app.services.locks.lent`.

        Raises:
            FaceterError: `NOT_FOUND`, also if a file is gone in the block because the dataset was deleted meanwhile.
        """
        return lent(self.get, id)

    def page(self, limit: int, cursor: str | None, wanted: DatasetFilter) -> Page[Dataset]:
        """Return one page of the datasets wanted, newest first.

        Raises:
            FaceterError: `INVALID_REQUEST` for a bad cursor.
        """
        return self._library.datasets.page(limit, cursor, wanted.wants)

    def delete(self, id: str) -> None:
        """Delete a dataset.

        Raises:
            FaceterError: `NOT_FOUND`; `RESOURCE_IN_USE` while a job needs it.
        """
        with holding(self._library.redis, [id]):
            self.get(id)
            check_unused(self._queue, id)
            self._library.delete(self._library.datasets, id)


def parse_kind(text: str | None) -> DatasetKind:
    """Return the kind of a form's field.

    Raises:
        FaceterError: `INVALID_REQUEST` on field `kind`, naming the kinds there are.
    """
    kinds = ", ".join(kind.value for kind in DatasetKind)
    if text is None:
        raise FaceterError(
            ProblemKind.INVALID_REQUEST, f"The field `kind` is missing; it is one of {kinds}.", field="kind"
        )
    try:
        return DatasetKind(text.strip())
    except ValueError as error:
        raise FaceterError(
            ProblemKind.INVALID_REQUEST, f"There is no kind {text[:100]!r}; it is one of {kinds}.", field="kind"
        ) from error


def parse_paired(text: str | None, kind: DatasetKind) -> bool | None:
    """Return what a form's field says of pairs: of kind `domains` whether there are any, else None.

    Args:
        text: `true` or `false`; without it there are none.
        kind: What the dataset holds.

    Raises:
        FaceterError: `INVALID_REQUEST` on field `paired`, if it is of another kind or neither true nor false.
    """
    if kind is not DatasetKind.DOMAINS:
        if text is None:
            return None
        raise FaceterError(
            ProblemKind.INVALID_REQUEST,
            f"`paired` is for datasets of kind {DatasetKind.DOMAINS}, and this one is of kind {kind}. Leave it out.",
            field="paired",
        )
    said = "false" if text is None else text.strip()
    if said not in ("true", "false"):
        raise FaceterError(
            ProblemKind.INVALID_REQUEST,
            f"The field `paired` is true or false, not {said[:100]!r}; it is false if left out.",
            field="paired",
        )
    return said == "true"


def with_links(dataset: Dataset) -> Dataset:
    """Return the dataset with the addresses that belong to it."""
    here = f"/v1/datasets/{dataset.id}"
    links = {"self": here, "content": f"{here}/content"}
    if dataset.derived_from_id:
        links["derived_from"] = f"/v1/models/{dataset.derived_from_id}"
    return dataset.model_copy(update={"links": {**file_links(dataset, here), **links}})
