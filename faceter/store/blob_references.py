"""References to blobs: the records and jobs that refer to a blob, and the blobs that may be unreferenced."""

from typing import Final

from redis import Redis
from redis.client import Pipeline

UNREFERENCED_KEY: Final = "faceter:blobs:loose"
"""Sorted set of blobs that may be unreferenced, scored by the time they were stored; `RELEASED` for released ones."""

RELEASED: Final = 0
"""Score of an unreferenced blob that can be deleted at once."""


def references_key(sha256: str) -> str:
    """Return the key of the set of ids, of records and of jobs, that refer to a blob."""
    return f"faceter:blob:{sha256}:references"


def holds_key(sha256: str) -> str:
    """Return the key of the number of holds of a blob."""
    return f"faceter:blob:{sha256}:holds"


def queue_reference(pipeline: Pipeline, sha256: str, id: str) -> None:
    """Queue on ``pipeline`` a reference from the record or job of that id to the blob."""
    pipeline.sadd(references_key(sha256), id)
    pipeline.zrem(UNREFERENCED_KEY, sha256)


def queue_release(pipeline: Pipeline, sha256: str, id: str) -> None:
    """Queue on ``pipeline`` the removal of a reference; `Library.delete_released` deletes the blob later."""
    pipeline.srem(references_key(sha256), id)
    pipeline.zadd(UNREFERENCED_KEY, {sha256: RELEASED})


def any_released(redis: Redis) -> bool:
    """Return whether there are released blobs that are not deleted yet."""
    return bool(redis.zcount(UNREFERENCED_KEY, RELEASED, RELEASED))
