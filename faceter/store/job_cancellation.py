"""Ends of jobs that users request: cancel, and finish early with the best result so far."""

import json
from typing import Final

from redis import Redis
from redis.client import Pipeline
from rq.executions import Execution
from rq.job import Job as RQJob
from rq.job import JobStatus as RQStatus

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.jobs import Job, JobStatus
from faceter.store.connection import transact
from faceter.store.job_endings import mark_ended, queue_end
from faceter.store.job_events import queue_event
from faceter.store.job_leases import fields, server_time
from faceter.store.job_queues import queue_no_longer_waiting, rq_queue
from faceter.store.job_records import (
    CHECKPOINT,
    LEASE,
    fetch_own,
    job_key,
    to_job,
)

_ENDED: Final = (RQStatus.FINISHED, RQStatus.FAILED, RQStatus.STOPPED, RQStatus.CANCELED)


def cancel(redis: Redis, job_id: str) -> Job:
    """Cancel a queued or running job.

    Its worker finds the lease gone and stops within about a second; writes without the lease are refused.

    Raises:
        FaceterError: `NOT_FOUND`; `JOB_ENDED` if it has already ended.
    """

    def body(pipeline: Pipeline) -> Job:
        return _cancel(pipeline, _fetch_active(redis, job_id, "cancel"))

    return transact(redis, body, job_key(job_id))


def request_end(redis: Redis, job_id: str) -> Job:
    """Ask a job to finish early with the best result so far; the request persists if its worker dies.

    A queued job has no result and is canceled, unless it has a checkpoint of an earlier attempt.

    Returns:
        The job: ``ending``, or canceled.

    Raises:
        FaceterError: `NOT_FOUND`; `JOB_ENDED` if it has already ended.
    """

    def body(pipeline: Pipeline) -> Job:
        job = _fetch_active(redis, job_id, "end")
        (checkpoint,) = fields(pipeline, job_id, CHECKPOINT)
        if to_job(job).status is JobStatus.QUEUED and checkpoint is None:
            return _cancel(pipeline, job)
        pipeline.multi()
        if not job.meta.get("ending"):
            job.meta["ending"] = True
            pipeline.hset(job.key, "meta", json.dumps(job.meta))
            queue_event(pipeline, job_id, "status", to_job(job))
        return to_job(job)

    return transact(redis, body, job_key(job_id))


def _fetch_active(redis: Redis, job_id: str, verb: str) -> RQJob:
    job = fetch_own(redis, job_id)
    if job.get_status(refresh=False) in _ENDED:
        raise FaceterError(
            ProblemKind.JOB_ENDED,
            f"The job {job_id!r} has already ended ({to_job(job).status}); there is nothing to {verb}.",
        )
    return job


def _cancel(pipeline: Pipeline, job: RQJob) -> Job:
    """Queue the job's cancellation on ``pipeline``, which watches the job."""
    queue = rq_queue(job.connection)
    (lease,) = fields(pipeline, job.id, LEASE)
    now = server_time(pipeline)
    pipeline.multi()
    queue_no_longer_waiting(pipeline, job)
    pipeline.lrem(queue.intermediate_queue_key, 0, job.id)
    execution = None if lease is None else Execution(lease, job.id, job.connection, job.worker_name or "")
    mark_ended(job, RQStatus.CANCELED, now)
    job.save(pipeline=pipeline, include_meta=False, include_result=False)
    queue_end(pipeline, job, execution)
    return to_job(job)
