"""Sees to resources while they are used: held while a job that reads them is made, lent while their files are read."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final, TypeVar

from redis import Redis
from redis.exceptions import LockError
from redis.lock import Lock

from app.services.jobs.queue import JobQueue
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.store.connection import store_errors

_LOCK_SECONDS: Final = 30
_WAIT_SECONDS: Final = 10
_MOST_NAMED: Final = 5

T = TypeVar("T")


@contextmanager
def holding(redis: Redis, ids: Iterable[str]) -> Iterator[None]:
    """Hold models and datasets still for the length of the block, against every other process that does the same.

    Args:
        redis: Where the locks are.
        ids: What to hold; locked in one order everywhere, so that nobody waits in a circle.

    Raises:
        FaceterError: `OVERLOADED`, with `retry_after`, if someone else holds one of them too long.
    """
    with ExitStack() as stack:
        for id in sorted(set(ids)):
            lock = Lock(
                redis, f"faceter:uses:{id}:lock", timeout=_LOCK_SECONDS, blocking_timeout=_WAIT_SECONDS, sleep=0.02
            )
            with store_errors():
                if not lock.acquire():
                    raise FaceterError(
                        ProblemKind.OVERLOADED, f"{id} is being changed by another request. Try again.", retry_after=1
                    )
            stack.callback(_release, lock)
        yield


@contextmanager
def lent(get: Callable[[str], T], id: str) -> Iterator[T]:
    """Lend a record for work on its files.

    Args:
        get: Returns the record of an id, or raises `NOT_FOUND`.
        id: Which.

    Raises:
        FaceterError: `NOT_FOUND`, also if a file is gone in the block because the record was deleted meanwhile.
    """
    record = get(id)
    try:
        yield record
    except FaceterError as error:
        if error.kind is ProblemKind.BLOB_MISSING:
            get(id)
        raise


def _release(lock: Lock) -> None:
    try:
        with store_errors():
            lock.release()
    except LockError:
        # It ran out while it was held; whoever holds it now is not to be disturbed.
        return


def check_unused(queue: JobQueue, id: str) -> None:
    """Raise if a queued or running job reads this model or dataset.

    Raises:
        FaceterError: `RESOURCE_IN_USE`, with the ids of the jobs.
    """
    jobs = queue.jobs_using(id)
    if jobs:
        named = ", ".join(jobs[:_MOST_NAMED]) + (f" and {len(jobs) - _MOST_NAMED} more" * (len(jobs) > _MOST_NAMED))
        them = "it" if len(jobs) == 1 else "them"
        raise FaceterError(
            ProblemKind.RESOURCE_IN_USE,
            f"{id} is used by {named}. Wait for {them} to end, or cancel {them} with DELETE /v1/jobs/ID.",
            jobs=jobs,
        )
