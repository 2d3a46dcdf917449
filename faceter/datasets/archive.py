"""Reads zip archives of untrusted origin without unpacking them to disk."""

import os
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Self

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.settings import Settings

_CHUNK = 1 << 18
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_END_RECORD = struct.Struct("<4s6xHII")
_END_RECORD_64 = struct.Struct("<4s28xQQ")
_LOCATOR_64 = struct.Struct("<4s4xQ")
_LONGEST_END = 65_557
_LONGEST_ENTRY = 512
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ARCHIVES = frozenset({".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst"})
_SYSTEM_FILES = frozenset({"__macosx", "thumbs.db", "desktop.ini"})


class SafeArchive:
    """A zip archive whose members are read on demand and checked against the archive's directory.

    Opening it checks the directory: names that lead outside (``..``, absolute, drive letters, backslashes), links and
    special files, encryption, duplicate names, archives within the archive, the number of files and their declared
    size. Reading a member counts its bytes: more than declared is a zip bomb, and reading stops there; fewer, or a
    wrong check sum, is damage. System files (``__MACOSX``, ``.DS_Store``, ``Thumbs.db``, hidden files) are ignored.
    Reading is safe from several threads at once.

    Args:
        path: The file.
        max_unpacked_bytes: Most bytes that all members may unpack to.
        max_entries: Most files.

    Raises:
        FaceterError: ``INVALID_ARCHIVE``, ``UNSAFE_ARCHIVE`` or ``ARCHIVE_TOO_LARGE``.
    """

    def __init__(self, path: Path, *, max_unpacked_bytes: int, max_entries: int) -> None:
        self.warnings: list[str] = []
        """What was ignored."""
        self._members: dict[str, zipfile.ZipInfo] = {}
        self._file = path.open("rb")
        self._end = os.fstat(self._file.fileno()).st_size
        try:
            _check_directory_size(self._file.fileno(), max_entries)
            with _open_zip(path) as archive:
                self._list(archive.infolist(), max_unpacked_bytes, max_entries)
        except BaseException:
            self._file.close()
            raise

    @property
    def names(self) -> list[str]:
        """Names of the members that are files, sorted; parts separated by ``/``."""
        return sorted(self._members)

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def __len__(self) -> int:
        return len(self._members)

    def size(self, name: str) -> int:
        """Return the declared size of a member in bytes; ``read`` never gives more."""
        return self._members[name].file_size

    def read(self, name: str, *, max_bytes: int) -> bytes:
        """Return a member's bytes.

        Args:
            name: One of ``names``.
            max_bytes: Most bytes it may have.

        Raises:
            FaceterError: ``ARCHIVE_TOO_LARGE`` if it is larger; ``UNSAFE_ARCHIVE`` if it unpacks to more than it
                declares; ``INVALID_ARCHIVE`` if it is damaged.
            KeyError: If there is no such member.
        """
        return b"".join(self.stream(name, max_bytes=max_bytes))

    def stream(self, name: str, *, max_bytes: int) -> Iterator[bytes]:
        """Yield a member's bytes in chunks, one in memory at a time; damage may show only after the last.

        Args:
            name: One of ``names``.
            max_bytes: Most bytes it may have.

        Raises:
            FaceterError: As ``read`` does.
            KeyError: If there is no such member.
        """
        member = self._members[name]
        if member.file_size > max_bytes:
            raise FaceterError(
                ProblemKind.ARCHIVE_TOO_LARGE,
                f"'{name}' unpacks to {member.file_size:,} bytes; at most {max_bytes:,} are allowed for such a file.",
            )
        length = check_sum = 0
        try:
            for chunk in self._inflate(member):
                length += len(chunk)
                check_sum = zlib.crc32(chunk, check_sum)
                if length > member.file_size:
                    raise FaceterError(
                        ProblemKind.UNSAFE_ARCHIVE,
                        f"'{name}' unpacks to more than the {member.file_size:,} bytes the archive declares, as a zip "
                        "bomb does. Make the archive again.",
                    )
                yield chunk
        except (zlib.error, EOFError) as error:
            raise _damaged(name) from error
        if length < member.file_size or check_sum != member.CRC:
            raise _damaged(name)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _list(self, entries: list[zipfile.ZipInfo], max_unpacked_bytes: int, max_entries: int) -> None:
        if len(entries) > max_entries:
            raise _too_many(len(entries), max_entries)
        total = sum(entry.file_size for entry in entries)
        if total > max_unpacked_bytes:
            raise FaceterError(
                ProblemKind.ARCHIVE_TOO_LARGE,
                f"The archive unpacks to {total:,} bytes; this server takes up to {max_unpacked_bytes:,}.",
            )
        ignored: Counter[str] = Counter()
        for entry in entries:
            parts = _safe_parts(entry)
            if entry.is_dir():
                continue
            name = "/".join(parts)
            system_file = next((part for part in parts if _is_system_file(part)), None)
            if system_file is not None:
                ignored["hidden files" if system_file.startswith(".") else system_file] += 1
            elif name in self._members:
                raise FaceterError(ProblemKind.UNSAFE_ARCHIVE, f"The archive holds '{name}' twice.")
            else:
                _check_readable(entry, name)
                self._members[name] = entry
        if not self._members:
            raise FaceterError(ProblemKind.INVALID_ARCHIVE, "The archive holds no files.")
        self.warnings += [f"ignored: {what} ({count})" for what, count in sorted(ignored.items())]

    def _inflate(self, member: zipfile.ZipInfo) -> Iterator[bytes]:
        """Yield a member's bytes in chunks of bounded size."""
        header = self._pread(_LOCAL_HEADER.size, member.header_offset)
        if len(header) < _LOCAL_HEADER.size:
            raise EOFError
        signature, name_length, extra_length = _LOCAL_HEADER.unpack(header)
        if signature != b"PK\x03\x04":
            raise EOFError
        start = member.header_offset + _LOCAL_HEADER.size + name_length + extra_length
        stored = self._stored_chunks(start, member.compress_size)
        if member.compress_type == zipfile.ZIP_STORED:
            yield from stored
            return
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        for compressed in stored:
            pending = compressed
            while pending and not inflater.eof:
                yield inflater.decompress(pending, _CHUNK)
                pending = inflater.unconsumed_tail
        while not inflater.eof:
            rest = inflater.decompress(b"", _CHUNK)
            if not rest:
                raise EOFError
            yield rest

    def _stored_chunks(self, start: int, length: int) -> Iterator[bytes]:
        while length > 0:
            chunk = self._pread(min(length, _CHUNK), start)
            if not chunk:
                raise EOFError
            yield chunk
            start += len(chunk)
            length -= len(chunk)

    def _pread(self, length: int, offset: int) -> bytes:
        if not 0 <= offset <= self._end:
            raise EOFError
        return os.pread(self._file.fileno(), length, offset)


def open_archive(path: Path, settings: Settings) -> SafeArchive:
    """Open an archive within the limits of the settings; see `SafeArchive` for errors."""
    return SafeArchive(path, max_unpacked_bytes=settings.max_unpacked_bytes, max_entries=settings.max_archive_entries)


def root_folder(archive: SafeArchive, name: str) -> str | None:
    """Return where a file lies: ``""`` at the top, or the only top-level folder with a slash; None if in neither."""
    if name in archive:
        return ""
    folders = {member.split("/")[0] for member in archive.names}
    root = f"{folders.pop()}/" if len(folders) == 1 else ""
    return root if root + name in archive else None


def _check_directory_size(descriptor: int, max_entries: int) -> None:
    """Refuse a directory that is itself too large, before it is read into memory."""
    end = os.fstat(descriptor).st_size
    if end == 0:
        raise FaceterError(ProblemKind.INVALID_ARCHIVE, "The file is empty. Send a zip archive.")
    tail_start = max(0, end - _LONGEST_END)
    tail = os.pread(descriptor, _LONGEST_END, tail_start)
    record_start = tail.rfind(b"PK\x05\x06")
    if record_start < 0 or len(tail) - record_start < 22:
        raise FaceterError(ProblemKind.INVALID_ARCHIVE, "The file is not a zip archive, or its end is missing.")
    _, count, size, _ = _END_RECORD.unpack_from(tail, record_start)
    locator = os.pread(descriptor, _LOCATOR_64.size, max(0, tail_start + record_start - 20))
    if len(locator) == _LOCATOR_64.size and locator.startswith(b"PK\x06\x07"):
        record = os.pread(descriptor, _END_RECORD_64.size, min(_LOCATOR_64.unpack(locator)[1], end))
        if len(record) == _END_RECORD_64.size and record.startswith(b"PK\x06\x06"):
            _, count, size = _END_RECORD_64.unpack(record)
    if count > max_entries or size > (max_entries + 1) * _LONGEST_ENTRY:
        raise _too_many(count, max_entries)


def _open_zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, EOFError, struct.error) as error:
        raise FaceterError(
            ProblemKind.INVALID_ARCHIVE, f"The file is not a zip archive that can be read ({error})."
        ) from error


def _safe_parts(entry: zipfile.ZipInfo) -> tuple[str, ...]:
    """Return the parts of a member's name, or raise if it leads outside the archive."""
    name = entry.orig_filename
    shown = ascii(name)
    if any(ord(character) < 32 or ord(character) == 127 for character in name):
        raise FaceterError(ProblemKind.UNSAFE_ARCHIVE, f"The archive holds a name with control characters: {shown}.")
    if "\\" in name:
        raise FaceterError(
            ProblemKind.UNSAFE_ARCHIVE, f"The archive holds a name with a backslash, {shown}. Separate folders by '/'."
        )
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if name.startswith("/") or (parts and len(parts[0]) >= 2 and parts[0][1] == ":"):
        raise FaceterError(ProblemKind.UNSAFE_ARCHIVE, f"The archive holds an absolute path, {shown}.")
    if ".." in parts:
        raise FaceterError(ProblemKind.UNSAFE_ARCHIVE, f"The archive holds a path that leads outside it, {shown}.")
    if not parts:
        raise FaceterError(ProblemKind.UNSAFE_ARCHIVE, f"The archive holds a file without a name, {shown}.")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        what = "a link" if kind == stat.S_IFLNK else "a special file"
        raise FaceterError(ProblemKind.UNSAFE_ARCHIVE, f"The archive holds {what}, {shown}. Put in the file itself.")
    return parts


def _check_readable(entry: zipfile.ZipInfo, name: str) -> None:
    if entry.flag_bits & 0x1:
        raise FaceterError(
            ProblemKind.INVALID_ARCHIVE, f"The archive is encrypted ('{name}'). Send it without a password."
        )
    if entry.compress_type not in _METHODS:
        raise FaceterError(
            ProblemKind.INVALID_ARCHIVE,
            f"'{name}' is compressed by method {entry.compress_type}; only stored and deflated members are read.",
        )
    if PurePosixPath(name).suffix.lower() in _ARCHIVES:
        raise FaceterError(
            ProblemKind.INVALID_ARCHIVE, f"The archive holds another archive, '{name}'. Put its files in directly."
        )


def _is_system_file(part: str) -> bool:
    return part.startswith(".") or part.lower() in _SYSTEM_FILES


def _too_many(count: int, limit: int) -> FaceterError:
    return FaceterError(
        ProblemKind.ARCHIVE_TOO_LARGE, f"The archive holds more files ({count:,}) than the {limit:,} this server takes."
    )


def _damaged(name: str) -> FaceterError:
    return FaceterError(ProblemKind.INVALID_ARCHIVE, f"'{name}' in the archive is damaged. Make the archive again.")
