"""Base service for records of any resource: get, list, delete, and download files."""

import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Generic, TypeVar, cast

from app.services.core import Service
from app.services.locks import check_unused, locked, reading
from faceter.contracts.base import Contract, Page, StoredFile, StoredRecord
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.resources import Resource
from faceter.store.records import Records

R = TypeVar("R", bound=StoredRecord)

_MOST_ECHOED: Final = 200
_ROOM_SECONDS: Final = 5.0
_ROOM_POLL_SECONDS: Final = 0.25


@dataclass(frozen=True)
class Download:
    """A stored file to download."""

    path: Path
    """Path on this host."""
    sha256: str
    """SHA-256 of its content."""
    filename: str
    """Suggested file name."""
    media_type: str
    """Media type."""


class RecordService(Service, Generic[R]):
    """The records of one resource."""

    resource: ClassVar[Resource[Any]]

    @property
    def records(self) -> Records[R]:
        """The stored records."""
        return self.library[self.resource]

    def get(self, id: str) -> R:
        """Return a record.

        Raises:
            FaceterError: `NOT_FOUND`.
        """
        return self.records.get(id)

    def reading(self, id: str) -> AbstractContextManager[R]:
        """Get a record whose files are read in the block; see `app.services.locks.reading`.

        Raises:
            FaceterError: `NOT_FOUND`, also if a file is missing because the record was deleted meanwhile.
        """
        return reading(self.get, id)

    def page(self, limit: int, cursor: str | None, filter: Any) -> Page[Any]:
        """Return one page of summaries of the records that a filter matches, newest first.

        Raises:
            FaceterError: `INVALID_REQUEST` for a bad cursor.
        """
        page = self.records.page(limit, cursor, filter.matches)
        return self.summaries(page)

    def summaries(self, page: Page[R]) -> Page[Any]:
        """Return a page of records as a page of their summaries."""
        summary = cast(Any, self.resource.summary)
        items: list[Contract] = [summary.of(record) for record in page.items]
        return Page(items=items, next_cursor=page.next_cursor)

    def delete(self, id: str) -> None:
        """Delete a record and its files; derived records are kept.

        Where the disk is full, the reserve makes room for it.

        Raises:
            FaceterError: `NOT_FOUND`; `RESOURCE_IN_USE` while a job needs it.
        """
        try:
            self._delete(id)
        except FaceterError as error:
            if error.kind is not ProblemKind.STORAGE_FULL or not self.core.reserve.give_back():
                raise
            self._delete_once_there_is_room(id)

    def _delete_once_there_is_room(self, id: str) -> None:
        """Delete a record as soon as Redis has seen that it can write again, which takes it a second."""
        deadline = time.monotonic() + _ROOM_SECONDS
        while True:
            try:
                return self._delete(id)
            except FaceterError as error:
                if error.kind is not ProblemKind.STORAGE_FULL or time.monotonic() > deadline:
                    raise
            time.sleep(_ROOM_POLL_SECONDS)

    def _delete(self, id: str) -> None:
        if not self.resource.read_by_jobs:
            self.library.delete(self.records, id)
            return
        with locked(self.library.redis, [id]):
            record = self.deletable(id)
            check_unused(self.queue, id)
            self.library.delete(self.records, id)
        self.deleted(record)

    def deletable(self, id: str) -> R:
        """Return the record to delete.

        Raises:
            FaceterError: If it does not exist or cannot be deleted.
        """
        return self.records.get(id)

    def shown(self, record: R) -> R:
        """Return a record as it is shown, with what is known of it now beside what is stored."""
        return record

    def deleted(self, record: R) -> None:
        """Hook that is called after a record is deleted."""

    def content(self, id: str) -> Download:
        """Return a record's own file.

        Raises:
            FaceterError: `NOT_FOUND`, `BLOB_MISSING`.
        """
        with self.reading(id) as record:
            path = self.library.blobs.path(record.sha256)
        type_ = self.resource.file_type(record)
        return Download(path, record.sha256, f"{_base_name(record)}{type_.suffix}", type_.media_type)

    def file(self, id: str, name: str) -> Download:
        """Return one of a record's further files.

        Raises:
            FaceterError: `NOT_FOUND`, listing the existing files; `BLOB_MISSING`.
        """
        with self.reading(id) as record:
            file = file_of(record, name)
            path = self.library.blobs.path(file.sha256)
        return Download(path, file.sha256, f"{_base_name(record)}-{name}", file.media_type)


def file_of(record: StoredRecord, name: str) -> StoredFile:
    """Return a further file of a record.

    Raises:
        FaceterError: `NOT_FOUND`, listing the existing files.
    """
    file = record.files.get(name)
    if file is None:
        existing = f"It has {', '.join(sorted(record.files))}." if record.files else "It has no further files."
        raise FaceterError(ProblemKind.NOT_FOUND, f"{record.id} has no file {name[:_MOST_ECHOED]!r}. {existing}")
    return file


def referenced_record(records: Records[R], id: str, field: str) -> R:
    """Return the record that a field of a request references.

    Raises:
        FaceterError: `INVALID_REQUEST` on the field if it does not exist.
    """
    record = records.find(id)
    if record is None:
        missing = records.not_found(id)
        raise FaceterError(ProblemKind.INVALID_REQUEST, missing.detail, field=field, **missing.extra)
    return record


def _base_name(record: StoredRecord) -> str:
    """Return the base of the file names of a record: its name, or its id if it has none."""
    return getattr(record, "name", record.id)
