"""Weights of large models in files that the processes of a host map read-only, so that their pages exist once.

Embedding tables are read where they lie. Kernels that repack their weights keep a copy of these, and no longer the
weights as well. The files of a model are deleted with its last session, also that of another process; those that a
killed process left are deleted by the next that starts.
"""

import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import onnx
import structlog
from onnx.external_data_helper import set_external_data

if sys.platform != "win32":
    import fcntl

SHARED_FROM: Final = 16 * 2**20
"""Size of a model from which its weights are shared, bytes."""

_OUTSIDE_FROM: Final = 1024
"""Size of a tensor from which it is outside of the graph's file, bytes; shapes and scalars stay inside."""
_PAGE: Final = 4096
_GRAPH, _WEIGHTS, _LOCK = "model.onnx", "weights", ".lock"

_log = structlog.get_logger("faceter.engines.shared_weights")


@dataclass(frozen=True)
class SharedFile:
    """A model whose weights are outside of its file; open until `close`."""

    path: Path
    """Its file."""
    lock: IO[bytes]
    """Held shared while the model is in use."""

    def close(self) -> None:
        """Delete the files if no other session uses them."""
        with self.lock, suppress(OSError):
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(self.path.parent, ignore_errors=True)


class SharedWeights:
    """Writes models with their weights in files of a folder, once for all processes.

    Args:
        folder: Folder of the files, on a local disk.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._is_swept = False
        self._lock = threading.Lock()

    def open(self, key: str, model: onnx.ModelProto) -> SharedFile | None:
        """Return the file of a model, written by the first process that needs it; the caller closes it.

        Args:
            key: Names the model; for a file name.
            model: The model, unchanged afterwards.

        Returns:
            The file; None where files cannot be locked or written.
        """
        if sys.platform == "win32":
            return None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._sweep()
            return self._open(key, model)
        except OSError as error:
            _log.warning("weights are not shared between processes", reason=error.strerror)
            return None

    def _open(self, key: str, model: onnx.ModelProto) -> SharedFile:
        path = self._folder / key / _GRAPH
        lock = (self._folder / f"{key}{_LOCK}").open("ab")
        try:
            while True:
                fcntl.flock(lock, fcntl.LOCK_SH)
                if path.exists():
                    return SharedFile(path, lock)
                # Those who use the file hold the lock shared for long, so that waiting for it alone may be forever.
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    fcntl.flock(lock, fcntl.LOCK_UN)
                    time.sleep(random.uniform(0.01, 0.03))
                    continue
                if not path.exists():
                    self._write(path.parent, model)
        except BaseException:
            lock.close()
            raise

    def _write(self, folder: Path, model: onnx.ModelProto) -> None:
        with tempfile.TemporaryDirectory(dir=self._folder, ignore_cleanup_errors=True) as name:
            made = Path(name, "made")
            made.mkdir()
            with _outside(model, made / _WEIGHTS):
                (made / _GRAPH).write_bytes(model.SerializeToString())
            shutil.rmtree(folder, ignore_errors=True)
            made.rename(folder)

    def _sweep(self) -> None:
        """Delete, once in a process, what no process uses."""
        with self._lock:
            if self._is_swept:
                return
            self._is_swept = True
        for lock in self._folder.glob(f"*{_LOCK}"):
            with lock.open("ab") as file, suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.with_suffix(""), ignore_errors=True)


@contextmanager
def _outside(model: onnx.ModelProto, file: Path) -> Iterator[None]:
    """Write the large weights of a model to a file, and keep them there during the block."""
    moved: list[tuple[onnx.TensorProto, bytes]] = []
    try:
        with file.open("wb") as weights:
            for tensor in model.graph.initializer:
                values = tensor.raw_data
                if len(values) < _OUTSIDE_FROM:
                    continue
                weights.seek(-(-weights.tell() // _PAGE) * _PAGE)
                set_external_data(tensor, file.name, weights.tell(), len(values))
                moved.append((tensor, values))
                tensor.ClearField("raw_data")
                weights.write(values)
            weights.flush()
            os.fsync(weights.fileno())
        yield
    finally:
        for tensor, values in moved:
            tensor.raw_data = values
            tensor.ClearField("data_location")
            del tensor.external_data[:]
