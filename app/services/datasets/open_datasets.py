"""The datasets that were read last, kept open."""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Final

from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.settings import Settings
from faceter.datasets.kinds import open_dataset
from faceter.datasets.reader import DatasetReader

_MOST: Final = 4


class OpenDatasets:
    """The last few datasets that were read: to open a large archive takes much longer than to read a sample.

    Args:
        settings: Limits.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opened: OrderedDict[tuple[str, DatasetKind], DatasetReader] = OrderedDict()
        self._lock = Lock()

    @contextmanager
    def reading(self, path: Path, dataset: Dataset) -> Iterator[DatasetReader]:
        """Read an open dataset in the block; other threads wait for its end.

        Args:
            path: The dataset's file.
            dataset: Its record.

        Raises:
            FaceterError: What `faceter.datasets.kinds.open_dataset` raises.
        """
        key = (dataset.sha256, dataset.kind)
        with self._lock:
            if key not in self._opened:
                self._opened[key] = open_dataset(path, dataset.kind, self._settings)
                if len(self._opened) > _MOST:
                    self._opened.popitem(last=False)[1].close()
            self._opened.move_to_end(key)
            yield self._opened[key]

    def drop(self, sha256: str) -> None:
        """Close a dataset that was deleted, so that its file gives its space back."""
        with self._lock:
            for key in [key for key in self._opened if key[0] == sha256]:
                self._opened.pop(key).close()

    def close(self) -> None:
        """Close all datasets."""
        with self._lock:
            while self._opened:
                self._opened.popitem()[1].close()
