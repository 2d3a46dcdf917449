"""Scratch files: arrays on disk that go with the process, and folders that go with the job."""

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
from faceter.store.scratch_folders import job_folders, left_over, scratch_folder_of


def scratch_folder(settings: Settings) -> Path:
    """Return the folder for scratch files; created if need be."""
    folder = settings.scratch_dir
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def job_folder(settings: Settings, job_id: str, replica: int = 0) -> Iterator[Path]:
    """Yield the folder of a job, deleted when the block ends; if the process dies, the next attempt finds it.

    Args:
        replica: Number of the replica; all but the first have a folder of their own in that of the job.
    """
    folder = scratch_folder_of(settings, job_id)
    if replica:
        folder /= f"replica-{replica}"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def drop_job_folders(settings: Settings, active: Callable[[], Collection[str]]) -> int:
    """Delete the folders of jobs that have ended, such as canceled ones; return how many.

    Args:
        active: Returns the ids of jobs that have not ended; called only if there is any folder.
    """
    folders = job_folders(settings)
    orphans = left_over(folders, active() if folders else ())
    for folder in orphans:
        shutil.rmtree(folder, ignore_errors=True)
    return len(orphans)


def rows_in_file(blocks: Iterable[NDArray[Any]], folder: Path, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return blocks of rows as one array, memory-mapped from a file without a name.

    Args:
        blocks: [B, D] each, D the same in all, at least one row.
        folder: Folder of the file.
        dtype: Type of the values.

    Returns:
        [N, D], read-only.

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
    """Append an array's bytes to a file.

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
            "There is no room left on the worker's disk for intermediate results. Free some, or use fewer samples.",
        ) from error


class ScratchFiles:
    """Files of a folder, open until the block ends; they are not deleted.

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
        """Return a file for reading and appending; created if missing, emptied if ``fresh``."""
        return self._open.enter_context((self._folder / name).open("w+b" if fresh else "a+b"))
