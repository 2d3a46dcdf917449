"""Reads the arrays of an ``.npz`` that strangers sent: never pickled, rows in order, one block in memory at a time."""

import math
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.settings import Settings
from faceter.datasets.archive import SafeArchive

Array = NDArray[np.generic]

_SUFFIX = ".npy"
_LONGEST_HEADER = 1 << 16
_HEADER_ERRORS = (
    ValueError,
    TypeError,
    SyntaxError,
    OverflowError,
    RecursionError,
    MemoryError,
    EOFError,
    tokenize.TokenError,
)
_READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


@dataclass(frozen=True)
class ArrayHeader:
    """What an array of an ``.npz`` is, before its values are read."""

    name: str
    """Its name, as given to ``numpy.savez``."""
    shape: tuple[int, ...]
    """Its shape."""
    dtype: np.dtype[Any]
    """The dtype of its values."""
    fortran: bool
    """Whether its first axis varies fastest in the file."""
    offset: int
    """Where its values start in its member."""

    @property
    def described(self) -> str:
        """Dtype and shape, such as ``float32 [5000, 1, 512]``."""
        return f"{self.dtype.name} {list(self.shape)}"


class ArrayArchive:
    """The arrays of an ``.npz``, a zip of ``.npy`` files as ``numpy.savez`` and ``numpy.savez_compressed`` write it.

    Args:
        path: The file.
        settings: Limits on members, and on what they unpack to together.

    Raises:
        FaceterError: ``INVALID_DATASET`` if it is empty or no zip, and what `SafeArchive` raises.
    """

    def __init__(self, path: Path, settings: Settings) -> None:
        _check_start(path)
        self._archive = SafeArchive(
            path, max_unpacked_bytes=settings.max_unpacked_bytes, max_entries=settings.max_archive_entries
        )
        self.notes: list[str] = list(self._archive.notes)

    @property
    def names(self) -> list[str]:
        """Names of the arrays, sorted."""
        return [name.removesuffix(_SUFFIX) for name in self._archive.names if name.endswith(_SUFFIX)]

    @property
    def others(self) -> list[str]:
        """Names of members that are no arrays."""
        return [name for name in self._archive.names if not name.endswith(_SUFFIX)]

    def header(self, name: str) -> ArrayHeader:
        """Return what an array is.

        Args:
            name: One of ``names``.

        Raises:
            FaceterError: ``INVALID_DATASET`` if it holds Python objects or is no array; `SafeArchive.read`'s.
        """
        member = name + _SUFFIX
        size = self._archive.size(member)
        stream = BytesIO(_start(self._archive.stream(member, max_bytes=size)))
        try:
            version = npy.read_magic(stream)
            if version not in _READERS:
                raise ValueError(f"version {version} of the format")
            shape, fortran, dtype = _READERS[version](stream)
        except _HEADER_ERRORS as error:
            raise invalid(f"'{member}' cannot be read as an array. Save it with numpy.savez.") from error
        if dtype.hasobject:
            raise invalid(
                f"'{name}' holds Python objects, which are not read because loading them can run code. Save plain "
                "numbers, or names as an array of text (dtype 'U')."
            )
        if dtype.itemsize == 0 or any(length < 0 for length in shape):
            raise invalid(f"'{member}' holds nothing: {dtype.name} {list(shape)}.")
        if stream.tell() + math.prod(shape) * dtype.itemsize != size:
            raise invalid(f"'{member}' says it is {dtype.name} {list(shape)}, which is not what its size is.")
        return ArrayHeader(name, shape, dtype, fortran and len(shape) > 1, stream.tell())

    def read(self, header: ArrayHeader, *, max_bytes: int) -> Array:
        """Return a whole array.

        Args:
            header: Its header.
            max_bytes: Most bytes it may have.

        Raises:
            FaceterError: `SafeArchive.read`'s.
        """
        content = self._archive.read(header.name + _SUFFIX, max_bytes=max_bytes)
        values = np.frombuffer(content, header.dtype, offset=header.offset)
        return values.reshape(header.shape, order="F" if header.fortran else "C")

    def rows(self, header: ArrayHeader) -> "Rows":
        """Return a reader of an array's rows, which are the entries along its first axis.

        Args:
            header: Its header; ``fortran`` is False.
        """
        return Rows(self._archive, header)

    def close(self) -> None:
        """Close the file."""
        self._archive.close()


class Rows:
    """A place in an array's file, from which rows are read in rising order.

    Args:
        archive: The archive.
        header: The array's header.
    """

    def __init__(self, archive: SafeArchive, header: ArrayHeader) -> None:
        member = header.name + _SUFFIX
        self._header = header
        self._row = math.prod(header.shape[1:]) * header.dtype.itemsize
        self._chunks = archive.stream(member, max_bytes=archive.size(member))
        self._waiting = memoryview(b"")
        self._skip(header.offset)
        self.next = 0

    def take(self, count: int) -> Array:
        """Return the next ``count`` rows, [count, …], and go on to the row after them."""
        content = bytearray(count * self._row)
        filled = 0
        while filled < len(content):
            part = self._more(len(content) - filled)
            content[filled : filled + len(part)] = part
            filled += len(part)
        self.next += count
        return np.frombuffer(content, self._header.dtype).reshape(count, *self._header.shape[1:])

    def skip_to(self, row: int) -> None:
        """Go on to a row that has not been read."""
        self._skip((row - self.next) * self._row)
        self.next = row

    def finish(self) -> None:
        """Read to the end, where damage shows that a check sum tells.

        Raises:
            FaceterError: `SafeArchive.stream`'s.
        """
        self._waiting = memoryview(b"")
        for _ in self._chunks:
            pass

    def _skip(self, length: int) -> None:
        while length > 0:
            length -= len(self._more(length))

    def _more(self, most: int) -> memoryview:
        while not self._waiting:
            self._waiting = memoryview(next(self._chunks))
        part, self._waiting = self._waiting[:most], self._waiting[most:]
        return part


def invalid(detail: str) -> FaceterError:
    """Return an error that a dataset has not the form of its kind."""
    return FaceterError(ProblemKind.INVALID_DATASET, detail)


def check_order(header: ArrayHeader, what: str) -> None:
    """See that an array's rows lie one after the other.

    Args:
        header: The array's.
        what: What its rows are called.

    Raises:
        FaceterError: ``INVALID_DATASET``.
    """
    if header.fortran:
        raise invalid(
            f"'{header.name}' is saved in Fortran order, in which {what} cannot be read one after the other. Save it "
            f"as numpy.ascontiguousarray({header.name})."
        )


def _start(chunks: Iterator[bytes]) -> bytes:
    """Return the beginning of a member, in which a header must end."""
    start = b""
    for chunk in chunks:
        start += chunk
        if len(start) >= _LONGEST_HEADER:
            break
    return start


def _check_start(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(len(npy.MAGIC_PREFIX))
    if not start:
        raise invalid("The file is empty. Send an .npz, as numpy.savez writes it.")
    if start == npy.MAGIC_PREFIX:
        raise invalid("The file is a single array (.npy). Send an .npz of named arrays: numpy.savez(path, signals=…).")
    if not start.startswith(b"PK"):
        raise invalid("The file is not an .npz, which is a zip of arrays as numpy.savez writes it.")
