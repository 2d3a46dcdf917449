"""Readiness of the service and of the components it needs."""

from collections.abc import Callable
from typing import Final, Self

from pydantic import Field

from app.services.jobs.queue import JobQueue
from faceter.contracts.base import Contract
from faceter.contracts.errors import FaceterError
from faceter.store.connection import store_errors
from faceter.store.library import Library

_PROBE: Final = b"ready?"


class ComponentState(Contract):
    """State of a component."""

    ready: bool = Field(examples=[True])
    """Whether it can be used."""
    detail: str = Field(examples=["1 worker"])
    """Its state, or the error."""


class Readiness(Contract):
    """Readiness of the service and of each component."""

    ready: bool = Field(examples=[True])
    """Whether every component is ready."""
    redis: ComponentState
    """The store of records and jobs."""
    blobs: ComponentState
    """The store of files."""
    workers: ComponentState
    """The processes that run jobs."""

    @classmethod
    def of(cls, library: Library, queue: JobQueue) -> Self:
        """Check every component; blocks."""
        redis = _check_component(lambda: _redis(library))
        blobs = _check_component(lambda: _blobs(library))
        unknown = ComponentState(ready=False, detail="Unknown while Redis does not respond.")
        workers = _check_component(lambda: _workers(queue)) if redis.ready else unknown
        ready = redis.ready and blobs.ready and workers.ready
        return cls(ready=ready, redis=redis, blobs=blobs, workers=workers)


def _check_component(check: Callable[[], ComponentState]) -> ComponentState:
    try:
        return check()
    except FaceterError as error:
        return ComponentState(ready=False, detail=error.detail)
    except OSError as error:
        return ComponentState(ready=False, detail=f"{type(error).__name__}: {error.strerror}")


def _redis(library: Library) -> ComponentState:
    with store_errors():
        library.redis.ping()
    return ComponentState(ready=True, detail="responds")


def _blobs(library: Library) -> ComponentState:
    with library.blobs.stage(_PROBE) as staged:
        library.blobs.exists(staged.sha256)
    return ComponentState(ready=True, detail="writable")


def _workers(queue: JobQueue) -> ComponentState:
    count = queue.statistics().workers
    if not count:
        return ComponentState(ready=False, detail="No worker is running; start one with `faceter worker`.")
    return ComponentState(ready=True, detail=f"{count} worker{'' if count == 1 else 's'}")
