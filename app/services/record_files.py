"""The names of records and their further files, such as curves or a contact sheet. Nothing here knows of HTTP."""

from urllib.parse import quote

from faceter.contracts.base import StoredFile
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.store.library import Filed

_MOST_ECHOED = 200


def file_of(record: Filed, name: str) -> StoredFile:
    """Return a further file of a record.

    Raises:
        FaceterError: `NOT_FOUND`, naming the files there are.
    """
    found = record.files.get(name)
    if found is None:
        there = f"It has {', '.join(sorted(record.files))}." if record.files else "It has no further files."
        raise FaceterError(ProblemKind.NOT_FOUND, f"{record.id} has no file {name[:_MOST_ECHOED]!r}. {there}")
    return found


def file_links(record: Filed, here: str) -> dict[str, str]:
    """Return the addresses of a record's further files, each by the file's name.

    Args:
        record: Its files are linked.
        here: The record's own address.
    """
    return {name: f"{here}/files/{quote(name, safe='')}" for name in record.files}


def contains(text: str | None, name: str) -> bool:
    """Whether a record's name contains what a filter asks for, in upper or lower case; None asks for nothing."""
    return text is None or text.casefold() in name.casefold()
