"""Shared steps at the end of a job; each queues commands on the transaction of a job step."""

import json
from datetime import UTC, datetime
from typing import cast

from redis.client import Pipeline
from rq import Queue
from rq.executions import Execution
from rq.job import Job as RQJob
from rq.job import JobStatus as RQStatus

from faceter.contracts.errors import Problem
from faceter.store import job_checkpoints, job_shards, job_statistics
from faceter.store.job_events import queue_event, stream_key
from faceter.store.job_leases import fields
from faceter.store.job_queues import rq_queue
from faceter.store.job_records import (
    ACTIVE_KEY,
    ENDED_BY,
    LEASE,
    fetch,
    to_job,
)
from faceter.store.shard_ids import is_shard, job_of


def is_committed(pipeline: Pipeline, execution: Execution, status: RQStatus) -> bool:
    """Return whether this step was already committed and only its reply was lost."""
    stored, ended_by = fields(pipeline, execution.job_id, "status", ENDED_BY)
    return stored == status and ended_by == execution.id


def started_key(queue: Queue) -> str:
    """Return the key of RQ's registry of running executions, scored by the expiry of their leases."""
    return cast(str, queue.started_job_registry.key)


def mark_ended(job: RQJob, status: RQStatus, now: float) -> None:
    """Set status and end time of a job in memory; ``now`` in seconds of the store's clock."""
    job._status = status
    job.ended_at = datetime.fromtimestamp(now, UTC)


def queue_failure(
    pipeline: Pipeline, job: RQJob, execution: Execution, problem: Problem, trace: str, now: float
) -> None:
    """Queue the failure of a job; that of a shard is its job's."""
    failed = fetch(job.connection, job_of(job.id)) if is_shard(job.id) else job
    failed.meta["error"] = problem.model_dump(mode="json")
    mark_ended(failed, RQStatus.FAILED, now)
    failed.set_status(RQStatus.FAILED, pipeline=pipeline)
    failed._handle_failure(trace or problem.detail, pipeline, execution.worker_name, execution.id)
    queue_end(pipeline, failed, None if is_shard(job.id) else execution)
    if is_shard(job.id):
        job_shards.queue_failed(pipeline, job, execution)


def queue_end(pipeline: Pipeline, job: RQJob, execution: Execution | None) -> None:
    """Queue the commands common to every end of a job."""
    seconds = job.result_ttl or job.failure_ttl or -1
    pipeline.hset(job.key, mapping={"meta": json.dumps(job.meta), ENDED_BY: "" if execution is None else execution.id})
    pipeline.srem(ACTIVE_KEY, job.id)
    job_checkpoints.queue_end(pipeline, job)
    job_shards.queue_end(pipeline, job)
    _release(pipeline, job, execution)
    record = to_job(job)
    queue_event(pipeline, job.id, "end", record)
    job_statistics.queue_end(pipeline, record)
    if seconds > 0:
        pipeline.expire(job.key, seconds)
        pipeline.expire(stream_key(job.id), seconds)


def queue_requeue(pipeline: Pipeline, job: RQJob, execution: Execution) -> None:
    """Queue the return of a job to the front of the queue."""
    job.meta.pop("progress", None)
    queue = rq_queue(job.connection)
    queue._enqueue_job(job, pipeline=pipeline, at_front=True)
    pipeline.hset(job.key, "meta", json.dumps(job.meta))
    _release(pipeline, job, execution)
    queue_event(pipeline, job.id, "status", to_job(job))


def _release(pipeline: Pipeline, job: RQJob, execution: Execution | None) -> None:
    pipeline.hdel(job.key, LEASE)
    if execution is not None:
        execution.delete(job, pipeline)
