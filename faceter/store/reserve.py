"""Room on the disk of the data that is kept back, so that deleting works where the disk is full."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

_MUCH: Final = 4
"""The file is made only where this many times its size is free."""


class Reserve:
    """A file beside the data; while the disk is full, it makes room for what Redis writes to delete something.

    Args:
        path: The file.
        size: Its bytes; 0 for none.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._size = size

    def keep(self) -> None:
        """Make the file if it is missing and there is much room; does nothing where that fails."""
        if self._size == 0 or self._path.exists() or not self._path.parent.is_dir():
            return
        with suppress(OSError):
            free = os.statvfs(self._path.parent)
            if free.f_bavail * free.f_frsize < _MUCH * self._size:
                return
            part = self._path.with_name(f"{self._path.name}.{os.getpid()}")
            try:
                with part.open("wb") as file:
                    os.posix_fallocate(file.fileno(), 0, self._size)
                part.replace(self._path)
            finally:
                part.unlink(missing_ok=True)

    def give_back(self) -> bool:
        """Delete the file; return whether there was one."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True
