"""What the readers of all kinds of datasets share: they open a file, verify it, summarize it and are closed."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Protocol, Self, TypeVar

from faceter.contracts.settings import Settings
from faceter.datasets.samples import DatasetContents, ProgressFunction


class Closeable(Protocol):
    """Anything that is closed after use."""

    def close(self) -> None:
        """Close it."""


R = TypeVar("R", bound=Closeable)
D = TypeVar("D")


def owned_by(resource: R, make: Callable[[R], D]) -> D:
    """Return what is made of an open file, which it closes; the file is closed at once if that fails."""
    try:
        return make(resource)
    except BaseException:
        resource.close()
        raise


class DatasetReader(ABC):
    """A dataset of one kind, opened. Use it as a context manager, or close it after use."""

    not_model_inputs: ClassVar[str] = ""
    """For a kind whose samples are not the single input of a model: why, and what to give instead."""

    warnings: list[str]
    """What was ignored in the file, or read in a way worth knowing."""

    @classmethod
    @abstractmethod
    def open(cls, path: Path, settings: Settings) -> Self:
        """Open a dataset without reading its samples.

        Args:
            path: Its file.
            settings: Limits.

        Raises:
            FaceterError: If the file is not safe, or does not have the form of this kind.
        """

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of samples."""

    @abstractmethod
    def verify(self, progress: ProgressFunction | None = None) -> DatasetContents:
        """Read every sample once, in order, and return the summary.

        Args:
            progress: Called with the fraction done.

        Raises:
            FaceterError: Naming the first value or file at fault.
        """

    @abstractmethod
    def summary(self) -> DatasetContents:
        """Return the number of samples, and the classes or concepts."""

    @abstractmethod
    def close(self) -> None:
        """Close the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
