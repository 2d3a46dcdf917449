"""Whether each part the service needs is there."""

from collections.abc import Callable
from typing import Final, Self

from pydantic import Field

from app.services.jobs.queue import JobQueue
from faceter.contracts.base import Contract
from faceter.contracts.errors import FaceterError
from faceter.store.connection import store_errors
from faceter.store.library import Library

_PROBE: Final = b"ready?"


class PartState(Contract):
    """One part."""

    ready: bool = Field(examples=[True])
    """Whether it can be used."""
    detail: str = Field(examples=["1 worker"])
    """How it stands, or what is wrong."""


class Readiness(Contract):
    """Whether the service is ready for work, and each part of it."""

    ready: bool = Field(examples=[True])
    """Whether every part is."""
    redis: PartState
    """The store of records and jobs."""
    blobs: PartState
    """The store of files."""
    workers: PartState
    """What does the jobs."""

    @classmethod
    def of(cls, library: Library, queue: JobQueue) -> Self:
        """Ask every part; blocks."""
        redis = _ask(lambda: _redis(library))
        blobs = _ask(lambda: _blobs(library))
        unknown = PartState(ready=False, detail="Not known while Redis does not answer.")
        workers = _ask(lambda: _workers(queue)) if redis.ready else unknown
        ready = redis.ready and blobs.ready and workers.ready
        return cls(ready=ready, redis=redis, blobs=blobs, workers=workers)


def _ask(question: Callable[[], PartState]) -> PartState:
    try:
        return question()
    except FaceterError as error:
        return PartState(ready=False, detail=error.detail)
    except OSError as error:
        return PartState(ready=False, detail=f"{type(error).__name__}: {error.strerror}")


def _redis(library: Library) -> PartState:
    with store_errors():
        library.redis.ping()
    return PartState(ready=True, detail="answers")


def _blobs(library: Library) -> PartState:
    with library.blobs.stage(_PROBE) as staged:
        library.blobs.exists(staged.sha256)
    return PartState(ready=True, detail="can be written")


def _workers(queue: JobQueue) -> PartState:
    count = queue.statistics().workers
    if not count:
        return PartState(ready=False, detail="No worker is running; start one with `faceter worker`.")
    return PartState(ready=True, detail=f"{count} worker{'' if count == 1 else 's'}")
