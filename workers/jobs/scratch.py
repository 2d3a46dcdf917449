"""Rows in a file of their own that goes with the process, however that ends."""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.settings import Settings

_OF_JOB = "of-"


def scratch_folder(settings: Settings) -> Path:
    """Return the folder for files that no other process needs; made if need be."""
    folder = settings.scratch_dir
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def job_folder(settings: Settings, job_id: str) -> Iterator[Path]:
    """Lend a folder of a job's own, which goes when the block ends; if the process dies, the next attempt finds it."""
    folder = scratch_folder(settings) / f"{_OF_JOB}{job_id}"
    folder.mkdir(exist_ok=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def drop_job_folders(settings: Settings, active: Callable[[], Collection[str]]) -> int:
    """Delete the folders of jobs that have ended, as one does that was canceled; return how many.

    Args:
        settings: Say where they are.
        active: Returns the ids of jobs that have not ended; only asked if there is any folder.
    """
    folders = list(settings.scratch_dir.glob(f"{_OF_JOB}*"))
    going_on = active() if folders else ()
    left = [folder for folder in folders if folder.name.removeprefix(_OF_JOB) not in going_on]
    for folder in left:
        shutil.rmtree(folder, ignore_errors=True)
    return len(left)


def rows_in_file(blocks: Iterable[NDArray[Any]], folder: Path, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return rows that come in blocks as one array in a nameless file, read as they are looked at.

    Args:
        blocks: [B, D] each, D the same in all, at least one row.
        folder: Where the file lies.
        dtype: Of the values.

    Returns:
        [N, D], to be read only.

    Raises:
        FaceterError: ``STORAGE_FULL``.
    """
    count, width = 0, 0
    with tempfile.TemporaryFile(dir=folder) as file:
        for block in blocks:
            write_rows(file, np.ascontiguousarray(block, dtype))
            count += len(block)
            width = block.shape[1]
        return np.memmap(file, dtype, "r", shape=(count, width))


def write_rows(file: IO[bytes], rows: NDArray[Any]) -> None:
    """Write an array's bytes at the end of a file.

    Raises:
        FaceterError: ``STORAGE_FULL``.
    """
    try:
        file.write(rows.tobytes())
        file.flush()
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise FaceterError(
            ProblemKind.STORAGE_FULL,
            "There is no room left on the worker's disk for what lies between. Make room there, or take fewer samples.",
        ) from error


class ScratchFiles:
    """Files of a folder, open until the block ends; they stay there.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._open.close()

    def open(self, name: str, *, fresh: bool = False) -> IO[bytes]:
        """Return a file to read from and to write at the end of; made if it is not there, emptied if ``fresh``."""
        return self._open.enter_context((self._folder / name).open("w+b" if fresh else "a+b"))
