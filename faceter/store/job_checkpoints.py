"""Checkpoints: intermediate state of a job, from which another worker resumes it.

A job has at most one checkpoint: a blob that the job references as a record references its file, so that it is not
swept however long the job waits in the queue. The reference is removed in the same transaction that ends the job,
whether by success, failure, cancellation or the reaper.
"""

from typing import Final, cast

from redis import Redis
from redis.client import Pipeline
from rq.executions import Execution
from rq.job import Job as RQJob
from rq.job import JobStatus as RQStatus

from faceter.store.blob_references import queue_reference, queue_release
from faceter.store.connection import transact
from faceter.store.job_leases import check_lease, fields
from faceter.store.job_records import CHECKPOINT, job_key

_CHECKPOINTS_KEY: Final = "faceter:jobs:checkpoints"
_ACTIVE_STATUSES: Final = (RQStatus.QUEUED, RQStatus.STARTED, RQStatus.DEFERRED)


def save(redis: Redis, execution: Execution, sha256: str) -> None:
    """Set a stored blob as the job's checkpoint, replacing the previous one.

    Args:
        redis: The store.
        execution: The execution that holds the lease.
        sha256: The blob, which must be held until then (`Library.store_blob`).

    Raises:
        LeaseLostError: If this execution no longer holds the lease.
    """
    id = execution.job_id

    def body(pipeline: Pipeline) -> None:
        check_lease(pipeline, execution)
        (previous,) = fields(pipeline, id, CHECKPOINT)
        pipeline.multi()
        pipeline.hset(job_key(id), CHECKPOINT, sha256)
        pipeline.hset(_CHECKPOINTS_KEY, id, sha256)
        queue_reference(pipeline, sha256, id)
        if previous is not None and previous != sha256:
            queue_release(pipeline, previous, id)

    transact(redis, body, job_key(id))


def find(redis: Redis, job_id: str) -> str | None:
    """Return the SHA-256 of the job's checkpoint, or None."""
    value = cast(bytes | None, redis.hget(job_key(job_id), CHECKPOINT))
    return None if value is None else value.decode()


def all_checkpoints(redis: Redis) -> dict[str, str]:
    """Return the SHA-256 of all checkpoints, by the job's id."""
    checkpoints = cast(dict[bytes, bytes], redis.hgetall(_CHECKPOINTS_KEY))
    return {id.decode(): sha256.decode() for id, sha256 in checkpoints.items()}


def queue_end(pipeline: Pipeline, job: RQJob) -> None:
    """Queue on ``pipeline``, which watches the job, the release of its checkpoint."""
    sha256 = find(job.connection, job.id)
    if sha256 is not None:
        _queue_removal(pipeline, job.id, sha256)


def release_orphans(redis: Redis) -> None:
    """Release the checkpoints of jobs that ended or vanished without a step of `job_steps`, such as by RQ's tools."""
    for id, sha256 in all_checkpoints(redis).items():

        def body(pipeline: Pipeline, id: str = id, sha256: str = sha256) -> None:
            status, current = fields(pipeline, id, "status", CHECKPOINT)
            pipeline.multi()
            if status not in _ACTIVE_STATUSES and current in (None, sha256):
                _queue_removal(pipeline, id, sha256)

        transact(redis, body, job_key(id))


def _queue_removal(pipeline: Pipeline, job_id: str, sha256: str) -> None:
    pipeline.hdel(job_key(job_id), CHECKPOINT)
    pipeline.hdel(_CHECKPOINTS_KEY, job_id)
    queue_release(pipeline, sha256, job_id)
