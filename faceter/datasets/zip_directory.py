"""Reads the directory at the end of a zip archive, after a check of its size."""

import os
import struct
import zipfile
from pathlib import Path
from typing import Final

from faceter.contracts.errors import FaceterError, ProblemKind

_END_RECORD: Final = struct.Struct("<4s6xHII")
_END_RECORD_64: Final = struct.Struct("<4s28xQQ")
_LOCATOR_64: Final = struct.Struct("<4s4xQ")
_LONGEST_END: Final = 65_557
_LONGEST_ENTRY: Final = 512


def read_directory(path: Path, descriptor: int, max_entries: int) -> list[zipfile.ZipInfo]:
    """Return the entries of an archive's directory, in its order.

    Args:
        path: The file.
        descriptor: The same file, opened.
        max_entries: Most entries.

    Raises:
        FaceterError: ``INVALID_ARCHIVE``, or ``ARCHIVE_TOO_LARGE`` before a directory that is itself too large is read
            into memory.
    """
    _check_size(descriptor, max_entries)
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, EOFError, struct.error) as error:
        raise FaceterError(
            ProblemKind.INVALID_ARCHIVE,
            f"The file is not a zip archive that can be read ({error}). Make the archive again.",
        ) from error
    if len(entries) > max_entries:
        raise _too_many(len(entries), max_entries)
    return entries


def _check_size(descriptor: int, max_entries: int) -> None:
    end = os.fstat(descriptor).st_size
    if end == 0:
        raise FaceterError(ProblemKind.INVALID_ARCHIVE, "The file is empty. Send a zip archive.")
    tail_start = max(0, end - _LONGEST_END)
    tail = os.pread(descriptor, _LONGEST_END, tail_start)
    record_start = tail.rfind(b"PK\x05\x06")
    if record_start < 0 or len(tail) - record_start < 22:
        raise FaceterError(
            ProblemKind.INVALID_ARCHIVE,
            "The file is not a zip archive, or its end is missing. Make the archive again, and send all of it.",
        )
    _, count, size, _ = _END_RECORD.unpack_from(tail, record_start)
    locator = os.pread(descriptor, _LOCATOR_64.size, max(0, tail_start + record_start - 20))
    if len(locator) == _LOCATOR_64.size and locator.startswith(b"PK\x06\x07"):
        record = os.pread(descriptor, _END_RECORD_64.size, min(_LOCATOR_64.unpack(locator)[1], end))
        if len(record) == _END_RECORD_64.size and record.startswith(b"PK\x06\x06"):
            _, count, size = _END_RECORD_64.unpack(record)
    if count > max_entries or size > (max_entries + 1) * _LONGEST_ENTRY:
        raise _too_many(count, max_entries)


def _too_many(count: int, limit: int) -> FaceterError:
    return FaceterError(
        ProblemKind.ARCHIVE_TOO_LARGE, f"The archive holds more files ({count:,}) than the {limit:,} this server takes."
    )
