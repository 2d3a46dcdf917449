"""Rows of features in a file of their own that goes with the process, however that ends."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.settings import Settings
from workers.metrics.points import Rows


def scratch_folder(settings: Settings) -> Path:
    """Return the folder for files that no other process needs; made if need be."""
    folder = settings.data_dir / "scratch"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def rows_in_file(blocks: Iterable[NDArray[Any]], folder: Path, dtype: np.dtype[Any]) -> Rows:
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
            try:
                file.write(np.ascontiguousarray(block, dtype).tobytes())
                file.flush()
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                raise FaceterError(
                    ProblemKind.STORAGE_FULL,
                    "There is no room left on the worker's disk for features. Take a `subsample`, or make room.",
                ) from error
            count += len(block)
            width = block.shape[1]
        return np.memmap(file, dtype, "r", shape=(count, width))
