"""Reads arrays of an ``.npz`` of untrusted origin: never unpickled, rows in order, one block in memory at a time."""

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

from faceter.contracts.settings import Settings
from faceter.datasets.archive import SafeArchive, open_archive
from faceter.datasets.errors import invalid_dataset

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
    """The header of an array in an ``.npz``."""

    name: str
    """Its name, as given to ``numpy.savez``."""
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
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
        self._archive = open_archive(path, settings)
        self.warnings: list[str] = list(self._archive.warnings)
        """What was ignored."""

    @property
    def names(self) -> list[str]:
        """Names of the arrays, sorted."""
        return [name.removesuffix(_SUFFIX) for name in self._archive.names if name.endswith(_SUFFIX)]

    @property
    def others(self) -> list[str]:
        """Names of members that are no arrays."""
        return [name for name in self._archive.names if not name.endswith(_SUFFIX)]

    def header(self, name: str) -> ArrayHeader:
        """Return the header of an array, one of ``names``.

        Raises:
            FaceterError: ``INVALID_DATASET`` if it holds Python objects or is no array; see also `SafeArchive.read`.
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
            raise invalid_dataset(f"'{member}' cannot be read as an array. Save it with numpy.savez.") from error
        if dtype.hasobject:
            raise invalid_dataset(
                f"'{name}' holds Python objects, which are not read because loading them can run code. Save plain "
                "numbers, or names as an array of text (dtype 'U')."
            )
        if dtype.itemsize == 0 or any(length < 0 for length in shape):
            raise invalid_dataset(f"'{member}' holds nothing: {dtype.name} {list(shape)}.")
        if stream.tell() + math.prod(shape) * dtype.itemsize != size:
            raise invalid_dataset(f"'{member}' declares {dtype.name} {list(shape)}, which does not fit its size.")
        return ArrayHeader(name, shape, dtype, fortran and len(shape) > 1, stream.tell())

    def read(self, header: ArrayHeader, *, max_bytes: int) -> Array:
        """Return a whole array; see `SafeArchive.read` for errors.

        Args:
            header: Its header.
            max_bytes: Most bytes it may have.
        """
        content = self._archive.read(header.name + _SUFFIX, max_bytes=max_bytes)
        values = np.frombuffer(content, header.dtype, offset=header.offset)
        return values.reshape(header.shape, order="F" if header.fortran else "C")

    def rows(self, header: ArrayHeader) -> "RowReader":
        """Return a reader of an array's rows, the entries along its first axis.

        Args:
            header: Its header; ``fortran`` is False.
        """
        return RowReader(self._archive, header)

    def close(self) -> None:
        """Close the file."""
        self._archive.close()


class RowReader:
    """Reads rows of an array in ascending order, a chunk of the file in memory at a time."""

    def __init__(self, archive: SafeArchive, header: ArrayHeader) -> None:
        member = header.name + _SUFFIX
        self._header = header
        self._row = math.prod(header.shape[1:]) * header.dtype.itemsize
        self._chunks = archive.stream(member, max_bytes=archive.size(member))
        self._buffer = memoryview(b"")
        self._skip(header.offset)
        self.next = 0
        """The row that is read next."""

    def take(self, count: int) -> Array:
        """Return the next ``count`` rows, [count, …]."""
        content = bytearray(count * self._row)
        filled = 0
        while filled < len(content):
            part = self._more(len(content) - filled)
            content[filled : filled + len(part)] = part
            filled += len(part)
        self.next += count
        return np.frombuffer(content, self._header.dtype).reshape(count, *self._header.shape[1:])

    def at(self, indices: NDArray[np.int64]) -> Array:
        """Return rows at positions not read yet, in the given order and with repetitions; read in ascending order."""
        ascending, inverse = np.unique(indices, return_inverse=True)
        parts = []
        for run in np.split(ascending, np.flatnonzero(np.diff(ascending) > 1) + 1):
            self.skip_to(int(run[0]))
            parts.append(self.take(len(run)))
        return np.concatenate(parts)[inverse]

    def skip_to(self, row: int) -> None:
        """Skip to a row that has not been read yet."""
        self._skip((row - self.next) * self._row)
        self.next = row

    def finish(self) -> None:
        """Read to the end, where the check sum is compared; see `SafeArchive.stream` for errors."""
        self._buffer = memoryview(b"")
        for _ in self._chunks:
            pass

    def _skip(self, length: int) -> None:
        while length > 0:
            length -= len(self._more(length))

    def _more(self, most: int) -> memoryview:
        while not self._buffer:
            self._buffer = memoryview(next(self._chunks))
        part, self._buffer = self._buffer[:most], self._buffer[most:]
        return part


def validate_order(header: ArrayHeader, rows_name: str) -> None:
    """Check that an array is in C order, so that its rows can be read one after the other.

    Raises:
        FaceterError: ``INVALID_DATASET``.
    """
    if header.fortran:
        raise invalid_dataset(
            f"'{header.name}' is saved in Fortran order, in which {rows_name} cannot be read one after the other. Save "
            f"it as numpy.ascontiguousarray({header.name})."
        )


def _start(chunks: Iterator[bytes]) -> bytes:
    """Return the first bytes of a member, which must contain the header."""
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
        raise invalid_dataset("The file is empty. Send an .npz, as numpy.savez writes it.")
    if start == npy.MAGIC_PREFIX:
        raise invalid_dataset(
            "The file is a single array (.npy). Send an .npz of named arrays: numpy.savez(path, signals=…)."
        )
    if not start.startswith(b"PK"):
        raise invalid_dataset("The file is not an .npz, which is a zip of arrays as numpy.savez writes it.")
