"""Reads zip archives of untrusted origin without unpacking them to disk."""

import os
import struct
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Self

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.settings import Settings
from faceter.datasets.archive_names import member_name
from faceter.datasets.errors import invalid_dataset, quoted_names
from faceter.datasets.names import folded
from faceter.datasets.zip_directory import read_directory

_CHUNK = 1 << 18
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ARCHIVES = frozenset({".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst"})


class SafeArchive:
    """A zip archive whose members are read on demand and checked against the archive's directory.

    Opening it checks the directory: names that lead outside (``..``, absolute, drive letters), links and special files,
    encryption, duplicate names, archives within the archive, the number of files and their declared size. Reading a
    member counts its bytes: more than declared is a zip bomb, and reading stops there; fewer, or a wrong check sum, is
    damage. What file managers leave behind (``__MACOSX``, ``.DS_Store``, ``Thumbs.db``, hidden files) is ignored.
    Names are in composed Unicode, their parts separated by ``/``; see `member_name`. Reading is safe from several
    threads at once.

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
            self._list(read_directory(path, self._file.fileno(), max_entries), max_unpacked_bytes)
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

    def _list(self, entries: list[zipfile.ZipInfo], max_unpacked_bytes: int) -> None:
        total = sum(entry.file_size for entry in entries)
        if total > max_unpacked_bytes:
            raise FaceterError(
                ProblemKind.ARCHIVE_TOO_LARGE,
                f"The archive unpacks to {total:,} bytes; this server takes up to {max_unpacked_bytes:,}.",
            )
        ignored: Counter[str] = Counter()
        folders: set[str] = set()
        backslashes: list[str] = []
        guessed: list[str] = []
        for entry in entries:
            name = member_name(entry)
            if name.leftover is not None:
                ignored[name.leftover] += not name.is_folder
            elif name.is_folder:
                folders.add(f"{name.path}/")
            elif name.path in self._members:
                raise _twice(name.path, self._members[name.path], entry)
            else:
                _check_readable(entry, name.path)
                self._members[name.path] = entry
                backslashes += [name.path] * name.had_backslash
                guessed += [name.path] * name.is_guessed
        if not self._members:
            raise FaceterError(
                ProblemKind.INVALID_ARCHIVE, "The archive holds no files. Put the files of the dataset in, and send it."
            )
        self.warnings += [f"ignored: {what} ({count})" for what, count in sorted(ignored.items()) if count]
        self._add_warnings(folders, backslashes, guessed)

    def _add_warnings(self, folders: set[str], backslashes: list[str], guessed: list[str]) -> None:
        names = self.names
        for name in names:
            folders -= {name[: place + 1] for place, character in enumerate(name) if character == "/"}
        empty = [folder for folder, other in pairwise([*sorted(folders), ""]) if not other.startswith(folder)]
        if empty:
            self.warnings.append(f"ignored, empty folders: {quoted_names(empty)}")
        if backslashes:
            self.warnings.append(f"names with backslashes, read as folders: {quoted_names(backslashes)}")
        if guessed:
            self.warnings.append(f"names that state no encoding, read as CP437: {quoted_names(guessed)}")
        alike: defaultdict[str, list[str]] = defaultdict(list)
        for name in names:
            alike[folded(name)].append(name)
        same = [name for group in alike.values() if len(group) > 1 for name in group]
        if same:
            self.warnings.append(f"names that differ only in upper and lower case: {quoted_names(same)}")

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
    """Return the folder in which a file lies, with a slash; ``""`` at the top, None if there is no such file.

    Of several folders that hold it the outermost is taken.

    Raises:
        FaceterError: ``INVALID_DATASET`` if it is in several, none further out than the others.
    """
    places = [place for place in archive.names if place == name or place.endswith(f"/{name}")]
    if not places:
        return None
    depth = min(place.count("/") for place in places)
    outermost = [place for place in places if place.count("/") == depth]
    if len(outermost) > 1:
        raise invalid_dataset(f"The archive holds several files {name}: {quoted_names(outermost)}. Leave one.")
    return outermost[0].removesuffix(name)


def _check_readable(entry: zipfile.ZipInfo, name: str) -> None:
    if entry.flag_bits & 0x1:
        raise FaceterError(
            ProblemKind.INVALID_ARCHIVE, f"The archive is encrypted ('{name}'). Send it without a password."
        )
    if entry.compress_type not in _METHODS:
        raise FaceterError(
            ProblemKind.INVALID_ARCHIVE,
            f"'{name}' is compressed by method {entry.compress_type}; only stored and deflated members are read. Make "
            "the archive again with the usual method, such as by `zip -r`.",
        )
    if PurePosixPath(name).suffix.lower() in _ARCHIVES:
        raise FaceterError(
            ProblemKind.INVALID_ARCHIVE, f"The archive holds another archive, '{name}'. Put its files in directly."
        )


def _twice(name: str, first: zipfile.ZipInfo, second: zipfile.ZipInfo) -> FaceterError:
    spellings = dict.fromkeys((ascii(first.orig_filename), ascii(second.orig_filename)))
    shown = f", as {' and '.join(spellings)}" if len(spellings) > 1 else ""
    return FaceterError(
        ProblemKind.UNSAFE_ARCHIVE, f"The archive holds '{name}' twice{shown}. Make it again with one of them."
    )


def _damaged(name: str) -> FaceterError:
    return FaceterError(ProblemKind.INVALID_ARCHIVE, f"'{name}' in the archive is damaged. Make the archive again.")
