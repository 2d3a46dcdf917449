"""Tensors of a whole image in a temporary file instead of in memory."""

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


class SpillFile:
    """A tensor float32 [C, H, W] in an unnamed file, which the system deletes with the process at the latest.

    It is read and written by position, not memory-mapped, so its pages do not count as this process's memory.

    Args:
        folder: Where to create the file.
        channels: C.
        rows: H.
        columns: W.

    Raises:
        FaceterError: `STORAGE_FULL` if the disk has no room for it.
    """

    def __init__(self, folder: Path, channels: int, rows: int, columns: int) -> None:
        self._shape = (channels, rows, columns)
        with _storage_full_if_no_space():
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - `close` closes it
            os.ftruncate(self._file.fileno(), channels * rows * columns * _BYTES)

    def read(self, rows: tuple[int, int], columns: tuple[int, int]) -> FloatArray:
        """Return a tile of the tensor, float32 [C, h, w].

        Args:
            rows: First row, and the one after the last.
            columns: First column, and the one after the last.
        """
        tile = np.empty((self._shape[0], rows[1] - rows[0], columns[1] - columns[0]), np.float32)
        for values, offset in self._runs(tile, rows[0], columns[0]):
            view = values.data.cast("B")
            while view:
                count = os.preadv(self._file.fileno(), [view], offset)
                view, offset = view[count:], offset + count
        return tile

    def write(self, tile: FloatArray, row: int, column: int) -> None:
        """Write a tile of the tensor.

        Args:
            tile: float32 [C, h, w].
            row: Its first row.
            column: Its first column.

        Raises:
            FaceterError: `STORAGE_FULL` if the disk is full.
        """
        with _storage_full_if_no_space():
            for values, offset in self._runs(tile, row, column):
                view = np.ascontiguousarray(values).data.cast("B")
                while view:
                    count = os.pwrite(self._file.fileno(), view, offset)
                    view, offset = view[count:], offset + count

    def close(self) -> None:
        """Delete the file."""
        self._file.close()

    def _runs(self, tile: FloatArray, row: int, column: int) -> Iterator[tuple[FloatArray, int]]:
        """Yield the pieces of a tile that are contiguous in the file, with the byte offset of each."""
        _, height, width = self._shape
        full_width = tile.shape[2] == width
        for channel, plane in enumerate(tile):
            for index, values in enumerate([plane] if full_width else plane):
                yield values, ((channel * height + row + index) * width + column) * _BYTES


@contextmanager
def _storage_full_if_no_space() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise FaceterError(
            ProblemKind.STORAGE_FULL,
            "The disk has no room for the intermediate tensors of an image of this size. Set `scale` to a smaller "
            "working size, or free disk space.",
        ) from error
