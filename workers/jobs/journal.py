"""Where a comparison stands, kept now and then, so that it can go on after its process died."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

State = dict[str, NDArray[Any]]

P = TypeVar("P")


class Journal(Protocol):
    """What a loop asks and tells between its blocks."""

    def read(self, stage: str) -> State | None:
        """Return what was last written of a stage; None if nothing."""

    def write(self, stage: str, state: Callable[[], State], *, finished: bool = False) -> None:
        """Take note of where a stage stands; the state is asked for only if it is to be kept.

        Args:
            stage: Its name.
            state: Returns the arrays it can go on from; they may go on changing afterwards.
            finished: Whether nothing of the stage is left to do.
        """


class Resumable(Protocol):
    """Work on one part after the other that can go on from what was known after some of them."""

    def state(self, done: int) -> State:
        """Return what is known after so many parts."""

    def restored(self, state: State | None) -> int:
        """Go on from what was known; return after how many parts that was."""


def through(
    parts: Sequence[P], work: Resumable, journal: Journal | None, stage: str, progress: Callable[[float], None]
) -> Iterator[P]:
    """Yield the parts that are left to do, and keep where the work stands after each.

    Args:
        parts: All of them.
        work: What is done with each before the next is asked for.
        journal: May know where it stood.
        stage: What the work is called there.
        progress: Called with the share that is done.
    """
    journal = journal or NoJournal()
    begin = work.restored(journal.read(stage))
    for done, part in enumerate(parts[begin:], begin + 1):
        yield part
        journal.write(stage, partial(work.state, done), finished=done == len(parts))
        progress(done / len(parts))


class NoJournal:
    """Keeps nothing."""

    def read(self, stage: str) -> State | None:
        """Return nothing."""
        return None

    def write(self, stage: str, state: Callable[[], State], *, finished: bool = False) -> None:
        """Do nothing."""


class StoredJournal:
    """Keeps all stages together as one file of arrays.

    Args:
        load: Returns the file that was last saved; None if there is none.
        save: Keeps a file in place of the one before.
        seconds: How long to wait between two of them.
        key: What is worked on; a file about anything else is not gone on from.
        clock: Seconds that only go up.
    """

    def __init__(
        self,
        load: Callable[[], bytes | None],
        save: Callable[[bytes], None],
        seconds: float,
        key: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._save = save
        self._seconds = seconds
        self._key = key
        self._clock = clock
        self._kept = clock()
        self._stages = _stages(load(), key)

    def read(self, stage: str) -> State | None:
        """Return what was last written of a stage; None if nothing."""
        return self._stages.get(stage)

    def write(self, stage: str, state: Callable[[], State], *, finished: bool = False) -> None:
        """Keep a stage if the last file is old enough; that of a finished one is remembered for the next file."""
        due = self._clock() - self._kept >= self._seconds
        if due or finished:
            self._stages[stage] = {name: values.copy() for name, values in state().items()}
        if due:
            self._save(_file(self._stages, self._key))
            self._kept = self._clock()


def _file(stages: Mapping[str, State], key: str) -> bytes:
    buffer = io.BytesIO()
    arrays = {f"{stage}/{name}": values for stage, state in stages.items() for name, values in state.items()}
    np.savez(buffer, key=np.array(key), **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _stages(content: bytes | None, key: str) -> dict[str, State]:
    stages: dict[str, State] = {}
    if content is None:
        return stages
    with np.load(io.BytesIO(content)) as arrays:
        if str(arrays["key"]) != key:
            return stages
        for full in arrays.files:
            stage, slash, name = full.partition("/")
            if slash:
                stages.setdefault(stage, {})[name] = arrays[full]
    return stages
