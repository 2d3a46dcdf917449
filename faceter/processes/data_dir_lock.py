"""The lock on the data directory: one ``faceter up`` at a time."""

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from faceter.processes.errors import SupervisorError


def make_data_dir(data_dir: Path) -> None:
    """Create the data directory if it does not exist.

    Raises:
        SupervisorError: If it cannot be created.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SupervisorError(
            f"The data directory {data_dir.absolute()} cannot be created: {error.strerror}. "
            "Choose another with --data-dir or FACETER_DATA_DIR."
        ) from error


@contextlib.contextmanager
def locked_data_dir(data_dir: Path) -> Iterator[Callable[[str], None]]:
    """Lock the data directory for the ``with`` block.

    Yields:
        A function that records the service's URL, for the error message of a second ``faceter up``.

    Raises:
        SupervisorError: If it is locked by another process.
    """
    path = data_dir / "faceter.lock"

    def record(url: str) -> None:
        path.write_text(json.dumps({"pid": os.getpid(), "url": url}), encoding="utf-8")

    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise SupervisorError(_already_up(data_dir, file.read())) from None
        record("")
        yield record


def _already_up(data_dir: Path, content: str) -> str:
    try:
        holder = json.loads(content)
        owner = f"process {holder['pid']}" + (f", at {holder['url']}" if holder["url"] else "")
    except (ValueError, KeyError, TypeError):
        owner = "an unknown process"
    return (
        f"Faceter is already up on {data_dir.absolute()} ({owner}). "
        "Use that one, stop it, or choose another folder with --data-dir or FACETER_DATA_DIR."
    )
