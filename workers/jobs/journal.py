"""Checkpoints of computations over blocks, so that a later attempt resumes them."""

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
    """Stores the states of stages."""

    def read(self, stage: str) -> State | None:
        """Return the last stored state of a stage; None if there is none."""

    def write(self, stage: str, state: Callable[[], State], *, finished: bool = False) -> None:
        """Store the state of a stage if a checkpoint is due.

        Args:
            stage: Its name.
            state: Returns its arrays, which may change afterwards; called only if the state is stored.
            finished: Whether the stage is done.
        """


class Resumable(Protocol):
    """A computation over blocks that can be resumed between two of them."""

    def state(self, done: int) -> State:
        """Return the state after ``done`` blocks."""

    def restore(self, state: State | None) -> int:
        """Go on from a state; return after how many blocks it was taken."""


def resumable(
    blocks: Sequence[P], work: Resumable, journal: Journal | None, stage: str, progress: Callable[[float], None]
) -> Iterator[P]:
    """Yield the remaining blocks, and store the state of the computation after each.

    Args:
        blocks: All of them.
        work: Done with a block when the next is requested.
        journal: Has the state of an earlier attempt; nothing is stored without it.
        stage: Name of the computation in the journal.
        progress: Called with the fraction done.
    """
    journal = journal or NoJournal()
    begin = work.restore(journal.read(stage))
    for done, block in enumerate(blocks[begin:], begin + 1):
        yield block
        journal.write(stage, partial(work.state, done), finished=done == len(blocks))
        progress(done / len(blocks))


class NoJournal:
    """Stores nothing."""

    def read(self, stage: str) -> State | None:
        """Return nothing."""
        return None

    def write(self, stage: str, state: Callable[[], State], *, finished: bool = False) -> None:
        """Do nothing."""


class StoredJournal:
    """Stores all stages as one file of arrays.

    Args:
        load: Returns the last saved file; None if there is none.
        save: Stores a file in place of the one before.
        seconds: Interval of the files.
        key: Identifies the work; a file with another key is ignored.
        clock: Monotonic seconds.
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
        self._saved_at = clock()
        self._stages = _stages(load(), key)

    def read(self, stage: str) -> State | None:
        """Return the last stored state of a stage; None if there is none."""
        return self._stages.get(stage)

    def write(self, stage: str, state: Callable[[], State], *, finished: bool = False) -> None:
        """Save all stages if the last file is old enough; the state of a finished stage is kept for the next file."""
        due = self._clock() - self._saved_at >= self._seconds
        if due or finished:
            self._stages[stage] = {name: values.copy() for name, values in state().items()}
        if due:
            self._save(_file(self._stages, self._key))
            self._saved_at = self._clock()


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
