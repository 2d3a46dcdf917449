"""Checkpoints: what a job keeps of its work while it lasts, over the deaths of its workers.

A job has one checkpoint at most. It is a blob that the job refers to as a record refers to its file, so no sweep takes
it however long the job waits in the queue. The reference goes in the same transaction as the job's end, whatever ends
it: success, failure, cancel, or the reaper.
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

_ALL_KEY: Final = "faceter:jobs:checkpoints"
_GOING_ON: Final = (RQStatus.QUEUED, RQStatus.STARTED)


def keep(redis: Redis, execution: Execution, sha256: str) -> None:
    """Make a stored blob the job's checkpoint, in place of the one before.

    Args:
        redis: The store.
        execution: Has the lease.
        sha256: The blob, which must be held until this is done (`Library.store_blob`).

    Raises:
        LeaseLostError: If the job is no longer this execution's.
    """
    id = execution.job_id

    def body(pipeline: Pipeline) -> None:
        check_lease(pipeline, execution)
        (before,) = fields(pipeline, id, CHECKPOINT)
        pipeline.multi()
        pipeline.hset(job_key(id), CHECKPOINT, sha256)
        pipeline.hset(_ALL_KEY, id, sha256)
        queue_reference(pipeline, sha256, id)
        if before is not None and before != sha256:
            queue_release(pipeline, before, id)

    transact(redis, body, job_key(id))


def find(redis: Redis, job_id: str) -> str | None:
    """Return the SHA-256 of the job's checkpoint, None if it has none."""
    value = cast(bytes | None, redis.hget(job_key(job_id), CHECKPOINT))
    return None if value is None else value.decode()


def queue_end(pipeline: Pipeline, job: RQJob) -> None:
    """Queue on ``pipeline``, which watches the job, that the job lets go of its checkpoint."""
    sha256 = find(job.connection, job.id)
    if sha256 is not None:
        _queue_removal(pipeline, job.id, sha256)


def release_orphans(redis: Redis) -> None:
    """Let go of the checkpoints of jobs that ended or vanished without one of our own steps, as by RQ's tools."""
    kept = {id.decode(): sha256.decode() for id, sha256 in cast(dict[bytes, bytes], redis.hgetall(_ALL_KEY)).items()}
    for id, sha256 in kept.items():

        def body(pipeline: Pipeline, id: str = id, sha256: str = sha256) -> None:
            status, current = fields(pipeline, id, "status", CHECKPOINT)
            pipeline.multi()
            if status not in _GOING_ON and current in (None, sha256):
                _queue_removal(pipeline, id, sha256)

        transact(redis, body, job_key(id))


def _queue_removal(pipeline: Pipeline, job_id: str, sha256: str) -> None:
    pipeline.hdel(job_key(job_id), CHECKPOINT)
    pipeline.hdel(_ALL_KEY, job_id)
    queue_release(pipeline, sha256, job_id)
