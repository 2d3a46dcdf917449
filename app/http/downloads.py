"""Downloading the files of a record, the same for every resource."""

from contextlib import AbstractContextManager
from typing import Any, Final, Protocol, runtime_checkable

from fastapi import Request
from starlette.responses import Response

from app.http.bodies import file_content
from app.http.parameters import ANYWHERE
from app.http.problems import documented
from app.http.stored_files import content_response
from app.services.container import Services
from app.services.record_files import file_of
from faceter.contracts.errors import ProblemKind
from faceter.store.library import Filed

DOWNLOADING: Final = (ProblemKind.NOT_FOUND, ProblemKind.RANGE_NOT_SATISFIABLE, *ANYWHERE, ProblemKind.BLOB_MISSING)
"""Problems of every download."""

FURTHER_FILE: Final[dict[int | str, dict[str, Any]]] = {
    **file_content("image/png", "application/json", what="The file, of the media type that `files` says."),
    **documented(*DOWNLOADING),
}
"""The documented answers of a download of one of a record's `files`."""


@runtime_checkable
class Named(Protocol):
    """A record that has a name."""

    @property
    def name(self) -> str:
        """What it is called."""


def own_file(
    request: Request, parts: Services, lent: AbstractContextManager[Filed], suffix: str, media_type: str
) -> Response:
    """Return the response with a record's own file.

    Args:
        request: The request.
        parts: The application's.
        lent: Lends the record.
        suffix: Ending of the file's name.
        media_type: Of the file.
    """
    with lent as record:
        path = parts.library.blobs.path(record.sha256)
    return content_response(
        request, path, sha256=record.sha256, filename=f"{_called(record)}{suffix}", media_type=media_type
    )


def further_file(request: Request, parts: Services, lent: AbstractContextManager[Filed], name: str) -> Response:
    """Return the response with one of a record's further files.

    Args:
        request: The request.
        parts: The application's.
        lent: Lends the record.
        name: The file's.

    Raises:
        FaceterError: `NOT_FOUND`, naming the files there are.
    """
    with lent as record:
        file = file_of(record, name)
        path = parts.library.blobs.path(file.sha256)
    return content_response(
        request, path, sha256=file.sha256, filename=f"{_called(record)}-{name}", media_type=file.media_type
    )


def _called(record: Filed) -> str:
    """Return what a record's files are named after: its name, or its id if it has none."""
    return record.name if isinstance(record, Named) else record.id
