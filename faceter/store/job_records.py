"""Job records: RQ jobs, converted to the `Job` contract."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, cast

from pydantic import TypeAdapter
from redis import Redis
from rq.exceptions import NoSuchJobError
from rq.job import Job as RQJob
from rq.job import JobStatus as RQStatus
from rq.serializers import JSONSerializer

from faceter.contracts.base import Provenance
from faceter.contracts.error_reports import ErrorReport
from faceter.contracts.errors import FaceterError, Problem, ProblemKind
from faceter.contracts.jobs import Job, JobResult, JobSpecification, JobStatus, Progress
from faceter.contracts.references import ResourceName
from faceter.store import job_queues
from faceter.store.newest_first import NewestFirst
from faceter.store.shard_ids import is_shard
from faceter.store.tenants import DEFAULT_TENANT, current_tenant, key_prefix
from faceter.tracing.trace_context import PARENT_HEADER, STATE_HEADER, TraceContext

ACTIVE_KEY: Final = "faceter:jobs:active"
"""Set of the ids of jobs that are queued or running."""

ACTIVE_STATUSES: Final = (RQStatus.QUEUED.encode(), RQStatus.STARTED.encode(), RQStatus.DEFERRED.encode())
"""Field `status` of the hash of a job that is queued or running, or waits for its shards."""

LEASE: Final = "lease"
"""Field of the job's hash: id of the execution that holds the lease. Only the holder may write."""

ENDED_BY: Final = "ended_by"
"""Field of the job's hash: id of the execution that ended it."""

CHECKPOINT: Final = "checkpoint"
"""Field of the job's hash: SHA-256 of its checkpoint's blob, while it is queued or running."""

ERROR_REPORT: Final = "error_report"
"""Field of the job's hash: report of the internal error that ended it."""

DIVIDED: Final = "divided"
"""Key in the RQ `meta` of a job that waits for its shards, or for a worker after them: the round of shards."""

_SPECIFICATION: TypeAdapter[JobSpecification] = TypeAdapter(JobSpecification)

_MOST_ECHOED: Final = 200
_LONGEST_STATE: Final = 512
"""Characters of `tracestate` that must be continued; a longer one is left out."""

_STATUSES: Final = {
    RQStatus.STARTED: JobStatus.RUNNING,
    RQStatus.DEFERRED: JobStatus.RUNNING,
    RQStatus.FINISHED: JobStatus.SUCCEEDED,
    RQStatus.FAILED: JobStatus.FAILED,
    RQStatus.STOPPED: JobStatus.CANCELED,
    RQStatus.CANCELED: JobStatus.CANCELED,
}


def job_key(job_id: str) -> str:
    """Return the Redis key of a job's hash."""
    return RQJob.key_for(job_id)


def index(redis: Redis) -> NewestFirst:
    """Return the index of all jobs of the current tenant."""
    return NewestFirst(redis, f"{key_prefix()}jobs")


def queue_meta(specification: JobSpecification, needed_bytes: int = 0) -> dict[str, Any]:
    """Return values of a new job's RQ `meta`: its queue, the current tenant, and the memory it needs, if known."""
    tenant = {} if current_tenant() == DEFAULT_TENANT else {job_queues.TENANT: current_tenant()}
    needed = {job_queues.NEEDED_BYTES: needed_bytes} if needed_bytes else {}
    return {job_queues.QUEUE: specification.queue.value, **tenant, **needed}


def specification_of(job: RQJob) -> JobSpecification:
    """Return the job's specification."""
    return _SPECIFICATION.validate_python(job.args[0])


def trace_meta(trace: TraceContext | None) -> dict[str, str]:
    """Return the span that caused a job as values of the job's RQ `meta`, by the names of W3C Trace Context."""
    if trace is None:
        return {}
    state = {STATE_HEADER: trace.state} if 0 < len(trace.state) <= _LONGEST_STATE else {}
    return {PARENT_HEADER: trace.parent_header, **state}


def trace_of(job: RQJob) -> TraceContext | None:
    """Return the span that caused a job; None for one that no request submitted."""
    parent, state = job.meta.get(PARENT_HEADER), job.meta.get(STATE_HEADER)
    return TraceContext.of_headers([parent] if parent else [], [state] if state else [])


def fetch(redis: Redis, job_id: str) -> RQJob:
    """Return the RQ job of that id.

    Raises:
        FaceterError: `NOT_FOUND` if there is none, or it has expired.
    """
    try:
        return RQJob.fetch(job_id, connection=redis, serializer=JSONSerializer)
    except (NoSuchJobError, ValueError) as error:
        raise _not_found(job_id) from error


def _not_found(job_id: str) -> FaceterError:
    return FaceterError(
        ProblemKind.NOT_FOUND,
        f"There is no job {job_id[:_MOST_ECHOED]!r}, or it ended too long ago.",
        resource=ResourceName.JOBS.value,
    )


def load(redis: Redis, job_ids: Sequence[str]) -> list[Job | None]:
    """Return the jobs of these ids in order; None for one that does not exist."""
    jobs = RQJob.fetch_many(job_ids, connection=redis, serializer=JSONSerializer)
    return [None if job is None else to_job(job) for job in jobs]


def active_ids(redis: Redis) -> set[str]:
    """Return the ids of the jobs that are queued or running."""
    return {member.decode() for member in cast(set[bytes], redis.smembers(ACTIVE_KEY))}


def is_ending(redis: Redis, job_id: str) -> bool:
    """Return whether the job was asked to finish early with its best result."""
    text = cast(bytes | None, redis.hget(job_key(job_id), "meta"))
    return bool(text and json.loads(text).get("ending", False))


def fetch_own(redis: Redis, job_id: str) -> RQJob:
    """Return the RQ job of that id if it is of the current tenant.

    Raises:
        FaceterError: `NOT_FOUND` if there is none, it has expired, or it is another tenant's.
    """
    job = fetch(redis, job_id)
    if job_queues.tenant_of(job) != current_tenant() or is_shard(job_id):
        raise _not_found(job_id)
    return job


def error_report(redis: Redis, job_id: str) -> ErrorReport:
    """Return the report of the internal error that ended a job.

    Raises:
        FaceterError: `NOT_FOUND` if there is no such job, or it did not end with an internal error.
    """
    fetch_own(redis, job_id)
    text = cast(bytes | None, redis.hget(job_key(job_id), ERROR_REPORT))
    if text is None:
        raise FaceterError(
            ProblemKind.NOT_FOUND,
            f"{job_id} has no error report: only an internal error has one.",
            resource=ResourceName.JOBS.value,
        )
    return ErrorReport.model_validate_json(text)


def _required(moment: datetime | None) -> datetime:
    if moment is None:
        raise ValueError("RQ job without a creation time")
    return moment


def to_job(job: RQJob) -> Job:
    """Return the `Job` contract of an RQ job, from its state in memory."""
    meta: dict[str, Any] = job.meta
    status = _STATUSES.get(job.get_status(refresh=False), JobStatus.RUNNING if DIVIDED in meta else JobStatus.QUEUED)
    result = JobResult.model_validate(meta["result"]) if status is JobStatus.SUCCEEDED else None
    provenance = meta.get("provenance")
    progress = meta.get("progress")
    specification = specification_of(job)
    return Job(
        id=job.id,
        kind=specification.kind,
        status=status,
        created_at=_required(job.created_at),
        started_at=job.started_at,
        ended_at=job.ended_at if status.ended else None,
        attempts=meta.get("attempts", 0),
        progress=None if progress is None else Progress.model_validate(progress),
        ending=meta.get("ending", False),
        specification=specification,
        result=result,
        error=_error(job) if status is JobStatus.FAILED else None,
        provenance=None if provenance is None else Provenance.model_validate(provenance),
    )


def _error(job: RQJob) -> Problem:
    stored = job.meta.get("error")
    if stored is not None:
        return Problem.model_validate(stored)
    return FaceterError(
        ProblemKind.WORKER_LOST, "The job was marked as failed by RQ's own tools. Run it again."
    ).problem()
