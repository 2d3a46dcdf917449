"""The job queue of the API; the only file of ``app`` that depends on RQ."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, cast

from redis import Redis
from rq import worker_registration
from rq.utils import str_to_date

from app.services.creation import creation_id
from faceter.contracts.base import Page, utc_now
from faceter.contracts.error_reports import ErrorReport
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.job_logs import JobLog
from faceter.contracts.jobs import Job, JobSpecification
from faceter.contracts.queue_names import QueueName
from faceter.contracts.settings import Settings
from faceter.contracts.system import WorkerState
from faceter.store import job_cancellation, job_logs, job_queues, job_records, job_steps
from faceter.store.connection import connect_async, store_errors
from faceter.store.job_events import JobEvent, check_last_event_id, follow
from faceter.store.job_reaper import reap
from faceter.store.job_statistics import Durations, durations
from faceter.tracing.spans import current_span

__all__ = ["JobEvent", "JobQueue", "QueueStatistics"]

_OVERLOADED_RETRY_SECONDS: Final = 30


@dataclass(frozen=True)
class WaitingJobs:
    """Jobs that wait in a queue."""

    count: int
    """Number of jobs."""
    oldest_seconds: float
    """Time since the oldest was created; 0 if none waits."""


@dataclass(frozen=True)
class QueueStatistics:
    """State of the queue."""

    queues: dict[QueueName, WaitingJobs]
    """Waiting jobs by queue."""
    running: int
    """Number of running jobs."""
    workers: int
    """Number of live workers."""
    ended: dict[tuple[str, str], Durations]
    """Count and durations of ended jobs, by kind and by `succeeded`, `failed` or `canceled`."""

    @property
    def queued(self) -> int:
        """Number of waiting jobs."""
        return sum(waiting.count for waiting in self.queues.values())

    @property
    def oldest_queued_seconds(self) -> float:
        """Time since the oldest waiting job was created; 0 if none waits."""
        return max(waiting.oldest_seconds for waiting in self.queues.values())


class JobQueue:
    """Submits, reads, lists and cancels jobs.

    Every method raises `STORE_UNAVAILABLE` while Redis is down.

    Args:
        redis: The store.
        settings: Limits, retention, attempts.
        tasks: Dotted name of the module with one function per kind of job; not imported by the API.
    """

    def __init__(self, redis: Redis, settings: Settings, tasks: str = "workers.tasks") -> None:
        self._redis = redis
        self._settings = settings
        self._tasks = tasks

    @store_errors()
    def enqueue(self, specification: JobSpecification, needed_bytes: int = 0) -> Job:
        """Queue a new job, as a part of the current request's trace.

        Args:
            specification: Kind and request of the job.
            needed_bytes: Memory that it needs; 0 if that is not known.

        Raises:
            FaceterError: `OVERLOADED`, with `retry_after`, if `max_queued_jobs` jobs are waiting.
        """
        if self._queued() >= self._settings.max_queued_jobs:
            raise FaceterError(
                ProblemKind.OVERLOADED,
                f"{self._settings.max_queued_jobs} jobs are waiting already, the limit of this server. "
                "Try again later, or start more workers.",
                retry_after=_OVERLOADED_RETRY_SECONDS,
            )
        function = f"{self._tasks}.{specification.kind}"
        span = current_span()
        trace = None if span is None else span.context
        return job_steps.enqueue(
            self._redis, self._settings, specification, creation_id("job"), function, trace, needed_bytes
        )

    @store_errors()
    def get(self, id: str) -> Job:
        """Return a job.

        Raises:
            FaceterError: `NOT_FOUND` if it does not exist, or ended longer ago than the retention of jobs.
        """
        return job_records.to_job(job_records.fetch_own(self._redis, id))

    @store_errors()
    def error_report(self, id: str) -> ErrorReport:
        """Return the report of the internal error that ended a job.

        Raises:
            FaceterError: `NOT_FOUND` if there is no such job, or it has no report.
        """
        return job_records.error_report(self._redis, id)

    @store_errors()
    def log(self, id: str, last: int) -> JobLog:
        """Return the last log lines of a job.

        Raises:
            FaceterError: `NOT_FOUND`.
        """
        self.get(id)
        return job_logs.read(self._redis, id, last)

    @store_errors()
    def page(self, limit: int, cursor: str | None, where: Callable[[Job], bool]) -> Page[Job]:
        """Return one page of jobs, newest first.

        Args:
            limit: Maximum number of jobs, at least 1.
            cursor: `next_cursor` of the previous page.
            where: Only jobs for which it is true are listed.

        Raises:
            FaceterError: `INVALID_REQUEST` for a cursor of another list or a limit below 1.
        """
        return job_records.index(self._redis).page(limit, cursor, lambda ids: job_records.load(self._redis, ids), where)

    @store_errors()
    def cancel(self, id: str) -> Job:
        """Cancel a job: immediately if it is queued, within seconds if it is running.

        The record has status `canceled` immediately, independent of the worker, and no results of the job are
        published.

        Raises:
            FaceterError: `NOT_FOUND`; `JOB_ENDED` if it has already ended.
        """
        return job_cancellation.cancel(self._redis, id)

    @store_errors()
    def request_end(self, id: str) -> Job:
        """Ask a running job to finish early with its best result so far; its record has `ending` set from now on.

        A queued job has no result and is canceled, unless it has a checkpoint of an earlier attempt.

        Raises:
            FaceterError: `NOT_FOUND`; `JOB_ENDED` if it has already ended.
        """
        return job_cancellation.request_end(self._redis, id)

    @store_errors()
    def jobs_using(self, resource_id: str) -> list[str]:
        """Return the ids of the queued and running jobs that read a model or dataset."""
        active = cast(set[bytes], self._redis.smembers(job_records.ACTIVE_KEY))
        jobs = job_records.load(self._redis, sorted(id.decode() for id in active))
        return [
            job.id for job in jobs if job is not None and not job.status.ended and resource_id in job.specification.uses
        ]

    @store_errors()
    def reap(self) -> list[str]:
        """Requeue or fail the jobs whose worker has died; return their ids.

        Called every few seconds by every API process, and by idle workers. It takes a few round trips and may run
        concurrently.
        """
        return reap(self._redis, self._settings)

    @store_errors()
    def statistics(self) -> QueueStatistics:
        """Return the state of the queue, for `/metrics`."""
        queue = job_queues.rq_queue(self._redis)
        workers = list(worker_registration.get_keys(queue=queue))
        now = utc_now().timestamp()
        return QueueStatistics(
            queues={
                name: WaitingJobs(count, 0.0 if created is None else max(0.0, now - created))
                for name, (count, created) in job_queues.waiting(self._redis).items()
            },
            running=int(self._redis.zcard(queue.started_job_registry.key)),
            workers=int(self._redis.exists(*workers)) if workers else 0,
            ended=durations(self._redis),
        )

    @store_errors()
    def waiting_of(self, tenant: str) -> int:
        """Return how many jobs of a tenant wait."""
        return job_queues.waiting_of(self._redis, tenant)

    @store_errors()
    def workers(self) -> list[WorkerState]:
        """Return the live workers, in order of their names."""
        keys = sorted(worker_registration.get_keys(queue=job_queues.rq_queue(self._redis)))
        with self._redis.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.hgetall(key)
            stored = pipeline.execute()
        # A worker that died has left its name, and no hash or one without its birth.
        return [_worker(key, fields) for key, fields in zip(keys, stored, strict=True) if b"birth" in fields]

    async def events(
        self, id: str, last_event_id: str | None = None, heartbeat: float | None = None
    ) -> AsyncIterator[JobEvent]:
        """Yield the events of a job, from the beginning or after an event, until it ends.

        Stored events after ``last_event_id`` (all of them if it is None) are followed by live ones: `status` with the
        whole job when it is queued, started or requeued; `progress`; a `heartbeat` without id or data after a while
        without events; and always last `end` with the whole job. While Redis is down only heartbeats are sent.

        Args:
            last_event_id: Id of the last event the reader has; the value of `Last-Event-ID`.
            heartbeat: Longest time without an event, seconds; `events_heartbeat_seconds` by default.

        Raises:
            FaceterError: `NOT_FOUND`; `INVALID_REQUEST` for an invalid event id;
                `STORE_UNAVAILABLE`. All are raised before the first event.
        """
        check_last_event_id(last_event_id)
        await asyncio.to_thread(self.get, id)
        interval = self._settings.events_heartbeat_seconds if heartbeat is None else heartbeat
        client = connect_async(self._settings)
        try:
            async for event in follow(client, lambda: self.get(id), id, last_event_id, interval):
                yield event
        finally:
            await client.aclose()

    def _queued(self) -> int:
        return sum(count for count, _ in job_queues.waiting(self._redis).values())


def _worker(key: bytes | str, fields: dict[bytes, bytes]) -> WorkerState:
    name = key.decode() if isinstance(key, bytes) else key
    texts = {field.decode(): value.decode() for field, value in fields.items()}
    return WorkerState(
        name=name.removeprefix("rq:worker:"),
        host=texts["hostname"],
        process=int(texts["pid"]),
        device=texts.get("device") or None,
        processor=texts.get("processor"),
        memory_bytes=int(texts["memory_bytes"]) if "memory_bytes" in texts else None,
        queues=[QueueName(name) for name in texts.get("takes", "").split(",") if name],
        versions=json.loads(texts.get("versions", "{}")),
        job_id=texts.get("job_id"),
        started_at=_utc(str_to_date(texts["birth"])),
        seen_at=_utc(str_to_date(texts["last_heartbeat"])),
    )


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
