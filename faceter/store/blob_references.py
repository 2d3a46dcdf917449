"""Who needs a blob: the records and jobs that refer to it, and the blobs that nothing may refer to any more."""

from typing import Final

from redis import Redis
from redis.client import Pipeline

LOOSE_KEY: Final = "faceter:blobs:loose"
"""Sorted set of blobs that may be nobody's, by the time they were stored; `RELEASED` for one that was let go."""

RELEASED: Final = 0
"""Score of a loose blob that can be deleted at once."""


def references_key(sha256: str) -> str:
    """Return the key of the set of ids, of records and of jobs, that refer to a blob."""
    return f"faceter:blob:{sha256}:references"


def queue_reference(pipeline: Pipeline, sha256: str, id: str) -> None:
    """Queue on ``pipeline`` that the record or job of that id needs the blob."""
    pipeline.sadd(references_key(sha256), id)
    pipeline.zrem(LOOSE_KEY, sha256)


def queue_release(pipeline: Pipeline, sha256: str, id: str) -> None:
    """Queue on ``pipeline`` that the record or job no longer needs the blob; `Library.delete_released` deletes it."""
    pipeline.srem(references_key(sha256), id)
    pipeline.zadd(LOOSE_KEY, {sha256: RELEASED})


def any_released(redis: Redis) -> bool:
    """Return whether there are blobs that were let go and not deleted yet."""
    return bool(redis.zcount(LOOSE_KEY, RELEASED, RELEASED))
