"""Tensors of a whole image, kept in a file instead of in memory."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.errors import FaceterError, ProblemKind

FloatArray = NDArray[np.float32]
_BYTES = 4


class Kept:
    """A tensor float32 [C, H, W] in a file that has no name, so that it is gone with the process at the latest.

    It is read and written by positions, not mapped: its bytes never count as this process's memory.

    Args:
        folder: On which disk.
        channels: C.
        rows: H.
        columns: W.

    Raises:
        FaceterError: `STORAGE_FULL` if the disk has no room for it.
    """

    def __init__(self, folder: Path, channels: int, rows: int, columns: int) -> None:
        self._shape = (channels, rows, columns)
        with _full_disk_said():
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - `close` closes it
            os.ftruncate(self._file.fileno(), channels * rows * columns * _BYTES)

    def read(self, rows: tuple[int, int], columns: tuple[int, int]) -> FloatArray:
        """Return a part of the tensor, float32 [C, h, w].

        Args:
            rows: First row, and the one after the last.
            columns: First column, and the one after the last.
        """
        part = np.empty((self._shape[0], rows[1] - rows[0], columns[1] - columns[0]), np.float32)
        for values, offset in self._runs(part, rows[0], columns[0]):
            view = values.data.cast("B")
            while view:
                count = os.preadv(self._file.fileno(), [view], offset)
                view, offset = view[count:], offset + count
        return part

    def write(self, part: FloatArray, row: int, column: int) -> None:
        """Write a part of the tensor.

        Args:
            part: float32 [C, h, w].
            row: Its first row.
            column: Its first column.

        Raises:
            FaceterError: `STORAGE_FULL` if the disk is full.
        """
        with _full_disk_said():
            for values, offset in self._runs(part, row, column):
                view = np.ascontiguousarray(values).data.cast("B")
                while view:
                    count = os.pwrite(self._file.fileno(), view, offset)
                    view, offset = view[count:], offset + count

    def close(self) -> None:
        """Give the disk's room back."""
        self._file.close()

    def _runs(self, part: FloatArray, row: int, column: int) -> Iterator[tuple[FloatArray, int]]:
        """Yield the pieces of a part that lie in one run in the file, and where each begins, bytes."""
        _, height, width = self._shape
        whole = part.shape[2] == width
        for channel, plane in enumerate(part):
            for index, values in enumerate([plane] if whole else plane):
                yield values, ((channel * height + row + index) * width + column) * _BYTES


@contextmanager
def _full_disk_said() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise FaceterError(
            ProblemKind.STORAGE_FULL,
            "The disk has no room for what an image of this size leaves between its stages. Set `scale` to a smaller "
            "working size, or make room.",
        ) from error
