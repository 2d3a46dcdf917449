"""Arrays on disk, read and appended by row."""

from __future__ import annotations

import os
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from workers.jobs.scratch import write_rows


class RowFile:
    """Rows of equal shape in a file.

    Args:
        file: Open for reading and writing; rows that it has are kept.
        shape: Shape of one row.
        dtype: Type of the values.
    """

    def __init__(self, file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._file = file
        self._shape, self._dtype = shape, dtype
        self._row_bytes = int(np.prod(shape)) * dtype.itemsize

    def __len__(self) -> int:
        return os.fstat(self._file.fileno()).st_size // self._row_bytes

    def append(self, row: NDArray[Any]) -> None:
        """Append a row.

        Raises:
            FaceterError: ``STORAGE_FULL``.
        """
        write_rows(self._file, np.ascontiguousarray(row, self._dtype))

    def mapped(self) -> NDArray[Any]:
        """Return all rows as one array, [N, …], which is read from the file when it is used."""
        shape = (len(self), *self._shape)
        return np.memmap(self._file, self._dtype, "r", shape=shape) if all(shape) else np.zeros(shape, self._dtype)

    def truncate(self, count: int) -> None:
        """Keep only the first rows."""
        self._file.truncate(count * self._row_bytes)

    def rows(self, start: int, stop: int) -> NDArray[Any]:
        """Return rows [start, stop) as [stop − start, …]. Safe to call from several threads."""
        content = bytearray((stop - start) * self._row_bytes)
        view, done = memoryview(content), 0
        while done < len(content):
            done += os.preadv(self._file.fileno(), [view[done:]], start * self._row_bytes + done)
        return np.frombuffer(content, self._dtype).reshape(stop - start, *self._shape)
