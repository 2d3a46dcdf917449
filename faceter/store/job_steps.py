"""State transitions of a job, each one transaction.

A job is *queued*; a worker *claims* it and holds its lease, which it renews; the job *succeeds*, *fails*, is *returned
to the queue* by a worker that shuts down, is *requeued or failed* if its worker or job process dies, or is *canceled*
by a user. Every transition watches the job's hash and checks the lease first, so that of two concurrent ones one
commits and the other is refused: a canceled job cannot succeed afterwards, a job that was given to another worker
cannot be changed by the first, and the results of a job appear atomically with its success, or not at all.

Lease times are of the store's clock, so the clocks of the hosts need not agree.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from redis import Redis
from redis.client import Pipeline
from rq.executions import Execution
from rq.job import Job as RQJob
from rq.job import JobStatus as RQStatus
from rq.utils import utcformat

from faceter.contracts.base import Provenance
from faceter.contracts.error_reports import ErrorReport
from faceter.contracts.errors import FaceterError, Problem
from faceter.contracts.jobs import Job, JobResult, JobSpecification, Progress
from faceter.contracts.settings import Settings
from faceter.store.connection import transact
from faceter.store.job_endings import is_committed, mark_ended, queue_end, queue_failure, queue_requeue, started_key
from faceter.store.job_events import queue_event
from faceter.store.job_leases import LeaseLostError as LeaseLostError
from faceter.store.job_leases import check_lease, farthest_expiry, fields, meta_of, server_time
from faceter.store.job_queues import queue_postponement, rq_queue
from faceter.store.job_records import (
    ACTIVE_KEY,
    DIVIDED,
    ENDED_BY,
    ERROR_REPORT,
    LEASE,
    fetch,
    index,
    job_key,
    queue_meta,
    to_job,
    trace_meta,
)
from faceter.store.shard_ids import job_of
from faceter.store.tenants import queue_registration
from faceter.tracing.trace_context import TraceContext

_LONGEST_PAUSE_SECONDS: Final = 30.0


def enqueue(
    redis: Redis,
    settings: Settings,
    specification: JobSpecification,
    job_id: str,
    function: str,
    trace: TraceContext | None = None,
    needed_bytes: int = 0,
) -> Job:
    """Queue a new job of the current tenant.

    Args:
        redis: The store.
        settings: Time limit and retention of the job.
        specification: Kind and request of the job.
        job_id: Id of the new job. If there is one of that id, which an earlier attempt of the same request queued, that
            is returned.
        function: Dotted name of the function that runs it, called with the specification as JSON values.
        trace: The span that caused the job; the parent of its attempts.
        needed_bytes: Memory that the job needs; 0 if that is not known.
    """
    queue = rq_queue(redis)
    job = queue.create_job(
        function,
        args=[specification.model_dump(mode="json")],
        job_id=job_id,
        description=f"{specification.kind} {job_id}",
        timeout=settings.job_timeout_seconds,
        result_ttl=settings.job_retention_seconds,
        failure_ttl=settings.job_retention_seconds,
        meta={**trace_meta(trace), **queue_meta(specification, needed_bytes)},
    )

    def body(pipeline: Pipeline) -> Job:
        if pipeline.exists(job.key):
            record = to_job(fetch(redis, job_id))
            pipeline.multi()
            return record
        pipeline.multi()
        queue.enqueue_job(job, pipeline=pipeline)
        record = to_job(job)
        index(redis).add(pipeline, job_id, record.created_at)
        queue_registration(pipeline)
        pipeline.sadd(ACTIVE_KEY, job_id)
        queue_event(pipeline, job_id, "status", record)
        return record

    return transact(redis, body, job.key)


def claim(redis: Redis, job: RQJob, worker_name: str, lease_seconds: float) -> Execution | None:
    """Claim a queued job for a worker.

    Args:
        redis: The store.
        job: The job from the queue; changed in place.
        worker_name: The worker that claims it.
        lease_seconds: Time until the lease expires unless it is renewed.

    Returns:
        The execution that holds the lease; None if the job cannot be claimed (canceled, or queued twice).
    """
    created: list[Execution] = []
    queue, started_at = rq_queue(redis), job.started_at

    def body(pipeline: Pipeline) -> Execution | None:
        status, lease = fields(pipeline, job.id, "status", LEASE)
        own = [execution for execution in created if execution.id == lease]
        if own:
            return own[0]
        now = server_time(pipeline)
        meta = meta_of(pipeline, job.id)
        pipeline.multi()
        pipeline.lrem(queue.intermediate_queue_key, 0, job.id)
        if status != RQStatus.QUEUED:
            return None
        divided = meta.pop(DIVIDED, None)
        job.meta = {**meta, "attempts": meta.get("attempts", 0) + (divided is None)}
        if divided is None:
            job.meta.pop("progress", None)
        execution = Execution.create(job, int(lease_seconds), pipeline, worker_name)
        created.append(execution)
        pipeline.zadd(started_key(queue), {execution.composite_key: now + lease_seconds})
        job.prepare_for_execution(worker_name, pipeline)
        if divided is not None and started_at is not None:
            job.started_at = started_at
            pipeline.hset(job.key, "started_at", utcformat(started_at))
        pipeline.hset(job.key, mapping={LEASE: execution.id, "meta": json.dumps(job.meta)})
        queue_event(pipeline, job.id, "status", to_job(job))
        return execution

    return transact(redis, body, job.key)


def renew(redis: Redis, execution: Execution, lease_seconds: float) -> bool:
    """Renew the lease; return whether this execution still held it."""
    queue = rq_queue(redis)

    def body(pipeline: Pipeline) -> bool:
        (lease,) = fields(pipeline, execution.job_id, LEASE)
        now = server_time(pipeline)
        pipeline.multi()
        if lease != execution.id:
            return False
        pipeline.zadd(started_key(queue), {execution.composite_key: now + lease_seconds})
        pipeline.expire(execution.key, int(lease_seconds) + 60)
        pipeline.expire(execution.worker_executions_key, int(lease_seconds) + 60)
        return True

    return transact(redis, body, job_key(execution.job_id))


def record_progress(redis: Redis, execution: Execution, progress: Progress) -> None:
    """Store the progress of the job.

    Raises:
        LeaseLostError: If this execution no longer holds the lease.
    """

    def body(pipeline: Pipeline) -> None:
        check_lease(pipeline, execution)
        meta = meta_of(pipeline, execution.job_id)
        pipeline.multi()
        meta["progress"] = progress.model_dump(mode="json")
        pipeline.hset(job_key(execution.job_id), "meta", json.dumps(meta))
        queue_event(pipeline, execution.job_id, "progress", progress)

    transact(redis, body, job_key(execution.job_id))


def succeed(
    redis: Redis,
    execution: Execution,
    result: JobResult,
    provenance: Provenance | None = None,
    publish: Callable[[Pipeline], object] | None = None,
) -> None:
    """Mark the job as succeeded and publish its results.

    Args:
        redis: The store.
        execution: The execution that holds the lease.
        result: References to the results.
        provenance: All that is needed to reproduce it.
        publish: Queues the new records on the pipeline of the transaction.

    Raises:
        LeaseLostError: If this execution no longer holds the lease; then nothing is published.
    """

    def body(pipeline: Pipeline) -> None:
        if is_committed(pipeline, execution, RQStatus.FINISHED):
            pipeline.multi()
            return
        check_lease(pipeline, execution)
        job = fetch(redis, execution.job_id)
        now = server_time(pipeline)
        pipeline.multi()
        job.meta["result"] = result.model_dump(mode="json")
        done = Progress(step="done", fraction=1.0, eta_seconds=0.0, updated_at=datetime.fromtimestamp(now, UTC))
        job.meta["progress"] = done.model_dump(mode="json")
        if provenance is not None:
            job.meta["provenance"] = provenance.model_dump(mode="json")
        job._result = job.meta["result"]
        mark_ended(job, RQStatus.FINISHED, now)
        job._handle_success(job.result_ttl, pipeline, execution.worker_name, execution.id)
        if publish is not None:
            publish(pipeline)
        queue_end(pipeline, job, execution)

    transact(redis, body, job_key(execution.job_id))


def fail(
    redis: Redis, execution: Execution, problem: Problem, trace: str = "", report: ErrorReport | None = None
) -> None:
    """Mark the job as failed.

    Args:
        redis: The store.
        execution: The execution that holds the lease.
        problem: The reason.
        trace: The traceback, for RQ's own tools.
        report: The report of an internal error; it is kept as long as the job.

    Raises:
        LeaseLostError: If this execution no longer holds the lease.
    """

    def body(pipeline: Pipeline) -> None:
        if is_committed(pipeline, execution, RQStatus.FAILED):
            pipeline.multi()
            return
        check_lease(pipeline, execution)
        job = fetch(redis, execution.job_id)
        now = server_time(pipeline)
        pipeline.multi()
        queue_failure(pipeline, job, execution, problem, trace, now)
        if report is not None:
            pipeline.hset(job_key(job_of(execution.job_id)), ERROR_REPORT, report.model_dump_json())

    transact(redis, body, job_key(execution.job_id), job_key(job_of(execution.job_id)))


def has_ended(redis: Redis, execution: Execution) -> bool:
    """Return whether this execution ended itself: by success, by failure, or by leaving the job to its shards."""
    status, ended_by = redis.hmget(job_key(execution.job_id), ["status", ENDED_BY])
    return status != b"canceled" and ended_by == execution.id.encode()


def return_to_queue(redis: Redis, execution: Execution) -> bool:
    """Return the job to the front of the queue because its worker shuts down; not counted as a lost attempt.

    Returns:
        Whether this execution still held the lease.
    """

    def body(pipeline: Pipeline) -> bool:
        (lease,) = fields(pipeline, execution.job_id, LEASE)
        if lease != execution.id:
            pipeline.multi()
            return False
        job = fetch(redis, execution.job_id)
        pipeline.multi()
        job.meta["handed_back"] = job.meta.get("handed_back", 0) + 1
        queue_requeue(pipeline, job, execution)
        return True

    return transact(redis, body, job_key(execution.job_id))


def requeue_or_fail(
    redis: Redis,
    settings: Settings,
    execution: Execution,
    error: FaceterError,
    expired_at: float | None = None,
) -> bool:
    """Requeue the job because its worker or job process died; fail it after `job_attempts` lost attempts.

    It is not taken again at once: after a second, and after twice as long each time, up to half a minute.

    Args:
        redis: The store.
        settings: `job_attempts` is the number of attempts.
        execution: The execution that died.
        error: The error of the job if it fails.
        expired_at: If given, do so only if the lease expired before this time of the store's clock.

    Returns:
        Whether that execution still held the lease.
    """
    queue = rq_queue(redis)

    def body(pipeline: Pipeline) -> bool:
        (lease,) = fields(pipeline, execution.job_id, LEASE)
        until = pipeline.zscore(started_key(queue), execution.composite_key)
        now = server_time(pipeline)
        farthest = farthest_expiry(settings, now)
        renewed = expired_at is not None and until is not None and expired_at < until <= farthest
        if lease != execution.id or renewed:
            pipeline.multi()
            if not renewed:
                pipeline.zrem(started_key(queue), execution.composite_key)
            return False
        job = fetch(redis, execution.job_id)
        pipeline.multi()
        lost = job.meta.get("attempts", 0) - job.meta.get("handed_back", 0)
        if lost < settings.job_attempts:
            queue_requeue(pipeline, job, execution)
            queue_postponement(pipeline, job.id, now + min(2.0 ** (lost - 1), _LONGEST_PAUSE_SECONDS))
        else:
            queue_failure(pipeline, job, execution, error.problem(), str(error), now)
        return True

    keys = {job_key(execution.job_id), job_key(job_of(execution.job_id)), started_key(queue)}
    return transact(redis, body, *keys)
