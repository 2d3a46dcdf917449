"""Locks on resources, and reads of files that may be deleted concurrently."""

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
def locked(redis: Redis, ids: Iterable[str]) -> Iterator[None]:
    """Lock resources during the block, across all processes.

    Args:
        redis: The store.
        ids: The resources; always locked in the same order, to avoid deadlocks.

    Raises:
        FaceterError: `OVERLOADED`, with `retry_after`, if another process holds one of the locks too long.
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
def reading(get: Callable[[str], T], id: str) -> Iterator[T]:
    """Get a record whose files are read in the block.

    Args:
        get: Returns the record of an id, or raises `NOT_FOUND`.

    Raises:
        FaceterError: `NOT_FOUND`, also if a file is missing because the record was deleted meanwhile.
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
        # The lock expired while it was held; another process may hold it now.
        return


def check_unused(queue: JobQueue, id: str) -> None:
    """Raise if a queued or running job reads this resource.

    Raises:
        FaceterError: `RESOURCE_IN_USE`, with the ids of the jobs as `job_ids`.
    """
    jobs = queue.jobs_using(id)
    if jobs:
        job_names = ", ".join(jobs[:_MOST_NAMED]) + (f" and {len(jobs) - _MOST_NAMED} more" * (len(jobs) > _MOST_NAMED))
        them = "it" if len(jobs) == 1 else "them"
        raise FaceterError(
            ProblemKind.RESOURCE_IN_USE,
            f"{id} is used by {job_names}. Wait for {them} to end, or cancel {them}.",
            job_ids=jobs,
        )
