"""The steps of a job's life, each one transaction.

A job is *queued*; a worker *claims* it and has its lease, which it renews; it *succeeds*, *fails*, is *handed back*
by a worker that stops, is *lost* when its worker or the work itself dies, or is *canceled* by its owner. Every step
watches the job's hash and checks the lease in it first, so of two that come at the same time one goes through and
the other learns that it came late: a job that was canceled cannot succeed afterwards, one that was given to another
worker cannot be written to by the first, and what a job makes appears in the same instant as its success, or never.

Leases are dated by the clock of the store, so the clocks of the hosts need not agree.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, cast

from redis import Redis
from redis.client import Pipeline
from rq import Queue
from rq.executions import Execution
from rq.job import Job as RQJob
from rq.job import JobStatus as RQStatus

from faceter.contracts.base import Provenance
from faceter.contracts.errors import FaceterError, Problem, ProblemKind
from faceter.contracts.jobs import Job, JobResult, JobSpecification, Progress
from faceter.contracts.settings import Settings
from faceter.store import job_checkpoints, job_statistics
from faceter.store.connection import transact
from faceter.store.job_events import queue_event, stream_key
from faceter.store.job_leases import LeaseLostError as LeaseLostError
from faceter.store.job_leases import check_lease, fields, meta_of, server_time
from faceter.store.job_records import (
    ACTIVE_KEY,
    CHECKPOINT,
    ENDED_BY,
    LEASE,
    fetch,
    index,
    job_key,
    rq_queue,
    to_job,
)

_ENDED: Final = (RQStatus.FINISHED, RQStatus.FAILED, RQStatus.STOPPED, RQStatus.CANCELED)


def enqueue(redis: Redis, settings: Settings, specification: JobSpecification, job_id: str, function: str) -> Job:
    """Queue a new job.

    Args:
        redis: The store.
        settings: Time limit and retention of the job.
        specification: What to do.
        job_id: Its id.
        function: Dotted name of the function that does it, called with the specification as JSON values.
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
    )
    with redis.pipeline() as pipeline:
        queue.enqueue_job(job, pipeline=pipeline)
        record = to_job(job)
        index(redis).add(pipeline, job_id, record.created_at)
        pipeline.sadd(ACTIVE_KEY, job_id)
        queue_event(pipeline, job_id, "status", record)
        pipeline.execute()
    return record


def claim(redis: Redis, job: RQJob, worker_name: str, lease_seconds: float) -> Execution | None:
    """Take up a queued job.

    Args:
        redis: The store.
        job: As it came from the queue; changed in place.
        worker_name: Who takes it.
        lease_seconds: How long it is the worker's without being renewed.

    Returns:
        The execution that has the lease; None if the job was not to be had (canceled, or queued twice).
    """
    made: list[Execution] = []
    queue = rq_queue(redis)

    def body(pipeline: Pipeline) -> Execution | None:
        status, lease = fields(pipeline, job.id, "status", LEASE)
        mine = [execution for execution in made if execution.id == lease]
        if mine:
            return mine[0]
        now = server_time(pipeline)
        meta = meta_of(pipeline, job.id)
        pipeline.multi()
        pipeline.lrem(queue.intermediate_queue_key, 0, job.id)
        if status != RQStatus.QUEUED:
            return None
        job.meta = {**meta, "attempts": meta.get("attempts", 0) + 1}
        job.meta.pop("progress", None)
        execution = Execution.create(job, int(lease_seconds), pipeline, worker_name)
        made.append(execution)
        pipeline.zadd(_started_key(queue), {execution.composite_key: now + lease_seconds})
        job.prepare_for_execution(worker_name, pipeline)
        pipeline.hset(job.key, mapping={LEASE: execution.id, "meta": json.dumps(job.meta)})
        queue_event(pipeline, job.id, "status", to_job(job))
        return execution

    return transact(redis, body, job.key)


def renew(redis: Redis, execution: Execution, lease_seconds: float) -> bool:
    """Keep the lease for another while; return whether it still was this execution's."""
    queue = rq_queue(redis)

    def body(pipeline: Pipeline) -> bool:
        (lease,) = fields(pipeline, execution.job_id, LEASE)
        now = server_time(pipeline)
        pipeline.multi()
        if lease != execution.id:
            return False
        pipeline.zadd(_started_key(queue), {execution.composite_key: now + lease_seconds})
        pipeline.expire(execution.key, int(lease_seconds) + 60)
        pipeline.expire(execution.worker_executions_key, int(lease_seconds) + 60)
        return True

    return transact(redis, body, job_key(execution.job_id))


def record_progress(redis: Redis, execution: Execution, progress: Progress) -> None:
    """Say how far the job is.

    Raises:
        LeaseLostError: If the job is no longer this execution's.
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
    """End the job well, and make what it made appear.

    Args:
        redis: The store.
        execution: Has the lease.
        result: What was made.
        provenance: All that is needed to make it again.
        publish: Queues on the transaction's pipeline the records that are to appear.

    Raises:
        LeaseLostError: If the job is no longer this execution's; then nothing appears.
    """

    def body(pipeline: Pipeline) -> None:
        if _is_done(pipeline, execution, RQStatus.FINISHED):
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
        _mark_ended(job, RQStatus.FINISHED, now)
        job._handle_success(job.result_ttl, pipeline, execution.worker_name, execution.id)
        if publish is not None:
            publish(pipeline)
        _end(pipeline, job, execution)

    transact(redis, body, job_key(execution.job_id))


def fail(redis: Redis, execution: Execution, problem: Problem, trace: str = "") -> None:
    """End the job badly.

    Args:
        redis: The store.
        execution: Has the lease.
        problem: Why.
        trace: The traceback, for RQ's own tools.

    Raises:
        LeaseLostError: If the job is no longer this execution's.
    """

    def body(pipeline: Pipeline) -> None:
        if _is_done(pipeline, execution, RQStatus.FAILED):
            pipeline.multi()
            return
        check_lease(pipeline, execution)
        job = fetch(redis, execution.job_id)
        now = server_time(pipeline)
        pipeline.multi()
        _queue_failure(pipeline, job, execution, problem, trace, now)

    transact(redis, body, job_key(execution.job_id))


def has_ended(redis: Redis, execution: Execution) -> bool:
    """Return whether this execution did the job to its end, well or badly."""
    stands, ended_by = redis.hmget(job_key(execution.job_id), ["status", ENDED_BY])
    return stands in (b"finished", b"failed") and ended_by == execution.id.encode()


def hand_back(redis: Redis, execution: Execution) -> bool:
    """Queue the job again, in front, because its worker stops; it does not count as a lost attempt.

    Returns:
        Whether it still was this execution's.
    """

    def body(pipeline: Pipeline) -> bool:
        (lease,) = fields(pipeline, execution.job_id, LEASE)
        if lease != execution.id:
            pipeline.multi()
            return False
        job = fetch(redis, execution.job_id)
        pipeline.multi()
        job.meta["handed_back"] = job.meta.get("handed_back", 0) + 1
        _queue_again(pipeline, job, execution)
        return True

    return transact(redis, body, job_key(execution.job_id))


def lose(
    redis: Redis,
    settings: Settings,
    execution: Execution,
    error: FaceterError,
    expired_at: float | None = None,
) -> bool:
    """Queue the job again because its worker or its work died; fail it once it was started `job_attempts` times.

    Args:
        redis: The store.
        settings: Say how many attempts there are.
        execution: The one that died.
        error: Why it failed, should it.
        expired_at: If given, only where the lease ran out before this moment of the store's clock.

    Returns:
        Whether the job still was that execution's.
    """
    queue = rq_queue(redis)

    def body(pipeline: Pipeline) -> bool:
        (lease,) = fields(pipeline, execution.job_id, LEASE)
        until = pipeline.zscore(_started_key(queue), execution.composite_key)
        now = server_time(pipeline)
        renewed = expired_at is not None and until is not None and until > expired_at
        if lease != execution.id or renewed:
            pipeline.multi()
            if not renewed:
                pipeline.zrem(_started_key(queue), execution.composite_key)
            return False
        job = fetch(redis, execution.job_id)
        pipeline.multi()
        lost = job.meta.get("attempts", 0) - job.meta.get("handed_back", 0)
        if lost < settings.job_attempts:
            _queue_again(pipeline, job, execution)
        else:
            _queue_failure(pipeline, job, execution, error.problem(f"/v1/jobs/{job.id}"), str(error), now)
        return True

    return transact(redis, body, job_key(execution.job_id), _started_key(queue))


def cancel(redis: Redis, job_id: str) -> Job:
    """End a queued or running job because its owner no longer wants it.

    A worker that is on it finds its lease gone and stops within about a second; whatever it still tries to
    record is refused.

    Raises:
        FaceterError: `NOT_FOUND`; `JOB_ENDED` if it was over already.
    """

    def body(pipeline: Pipeline) -> Job:
        return _cancel(pipeline, _going_on(redis, job_id, "cancel"))

    return transact(redis, body, job_key(job_id))


def request_end(redis: Redis, job_id: str) -> Job:
    """Ask a job to end soon and keep the best it has; it stays asked, should its worker die meanwhile.

    A queued job has nothing to keep and is canceled, unless it has a checkpoint of an earlier attempt.

    Returns:
        The job: ``ending``, or canceled.

    Raises:
        FaceterError: `NOT_FOUND`; `JOB_ENDED` if it was over already.
    """

    def body(pipeline: Pipeline) -> Job:
        job = _going_on(redis, job_id, "end")
        (checkpoint,) = fields(pipeline, job_id, CHECKPOINT)
        if job.get_status(refresh=False) != RQStatus.STARTED and checkpoint is None:
            return _cancel(pipeline, job)
        pipeline.multi()
        if not job.meta.get("ending"):
            job.meta["ending"] = True
            pipeline.hset(job.key, "meta", json.dumps(job.meta))
            queue_event(pipeline, job_id, "status", to_job(job))
        return to_job(job)

    return transact(redis, body, job_key(job_id))


def _going_on(redis: Redis, job_id: str, verb: str) -> RQJob:
    job = fetch(redis, job_id)
    if job.get_status(refresh=False) in _ENDED:
        raise FaceterError(
            ProblemKind.JOB_ENDED, f"The job {job_id!r} is over ({to_job(job).status}); there is nothing to {verb}."
        )
    return job


def _cancel(pipeline: Pipeline, job: RQJob) -> Job:
    """Queue the job's end on ``pipeline``, which watches it."""
    queue = rq_queue(job.connection)
    (lease,) = fields(pipeline, job.id, LEASE)
    now = server_time(pipeline)
    pipeline.multi()
    pipeline.lrem(queue.key, 0, job.id)
    pipeline.lrem(queue.intermediate_queue_key, 0, job.id)
    execution = None if lease is None else Execution(lease, job.id, job.connection, job.worker_name or "")
    _mark_ended(job, RQStatus.CANCELED, now)
    job.save(pipeline=pipeline, include_meta=False, include_result=False)
    _end(pipeline, job, execution)
    return to_job(job)


def _is_done(pipeline: Pipeline, execution: Execution, status: RQStatus) -> bool:
    """Return whether this very step went through before, and only its answer was lost."""
    stands, ended_by = fields(pipeline, execution.job_id, "status", ENDED_BY)
    return stands == status and ended_by == execution.id


def _started_key(queue: Queue) -> str:
    return cast(str, queue.started_job_registry.key)


def _mark_ended(job: RQJob, status: RQStatus, now: float) -> None:
    job._status = status
    job.ended_at = datetime.fromtimestamp(now, UTC)


def _queue_failure(
    pipeline: Pipeline, job: RQJob, execution: Execution, problem: Problem, trace: str, now: float
) -> None:
    job.meta["error"] = problem.model_dump(mode="json")
    _mark_ended(job, RQStatus.FAILED, now)
    job.set_status(RQStatus.FAILED, pipeline=pipeline)
    job._handle_failure(trace or problem.detail, pipeline, execution.worker_name, execution.id)
    _end(pipeline, job, execution)


def _end(pipeline: Pipeline, job: RQJob, execution: Execution | None) -> None:
    """Queue what every end of a job has in common."""
    seconds = job.result_ttl or job.failure_ttl or -1
    pipeline.hset(job.key, mapping={"meta": json.dumps(job.meta), ENDED_BY: "" if execution is None else execution.id})
    pipeline.srem(ACTIVE_KEY, job.id)
    job_checkpoints.queue_end(pipeline, job)
    _release(pipeline, job, execution)
    record = to_job(job)
    queue_event(pipeline, job.id, "end", record)
    job_statistics.queue_end(pipeline, record)
    if seconds > 0:
        pipeline.expire(job.key, seconds)
        pipeline.expire(stream_key(job.id), seconds)


def _queue_again(pipeline: Pipeline, job: RQJob, execution: Execution) -> None:
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
