"""The job queue as the front end sees it; the only file of ``app`` that knows RQ."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, cast

from redis import Redis
from rq import worker_registration
from rq.utils import str_to_date

from faceter.contracts.base import Page, new_id, utc_now
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.jobs import Job, JobSpecification, JobStatus
from faceter.contracts.settings import Settings
from faceter.store import job_records, job_steps
from faceter.store.connection import connect_async, store_errors
from faceter.store.job_events import JobEvent, check_last_event_id, follow
from faceter.store.job_reaper import reap
from faceter.store.job_statistics import Durations, durations

__all__ = ["JobEvent", "JobQueue", "QueueStatistics"]

_OVERLOADED_RETRY_SECONDS: Final = 30


@dataclass(frozen=True)
class QueueStatistics:
    """How the queue stands."""

    queued: int
    """Jobs waiting."""
    running: int
    """Jobs a worker is on."""
    oldest_queued_seconds: float
    """How long the job next in line has been waiting; 0 if none is."""
    workers: int
    """Workers that are alive."""
    ended: dict[tuple[str, str], Durations]
    """Count and durations of ended jobs, by kind and by `succeeded`, `failed` or `canceled`."""


class JobQueue:
    """Puts jobs in the queue, tells where they are, and ends them on request.

    Every method raises `STORE_UNAVAILABLE` while Redis is away and works again when it is back.

    Args:
        redis: The store.
        settings: Limits, retention, attempts.
        tasks: Dotted name of the module with one function per kind of job; it is never imported here.
    """

    def __init__(self, redis: Redis, settings: Settings, tasks: str = "workers.tasks") -> None:
        self._redis = redis
        self._settings = settings
        self._tasks = tasks

    @store_errors()
    def enqueue(self, specification: JobSpecification) -> Job:
        """Queue a new job.

        Raises:
            FaceterError: `OVERLOADED`, with `retry_after`, if `max_queued_jobs` are waiting.
        """
        if self._queued() >= self._settings.max_queued_jobs:
            raise FaceterError(
                ProblemKind.OVERLOADED,
                f"{self._settings.max_queued_jobs} jobs are waiting already, as many as this server takes. "
                "Try again later, or start more workers.",
                retry_after=_OVERLOADED_RETRY_SECONDS,
            )
        function = f"{self._tasks}.{specification.kind}"
        return job_steps.enqueue(self._redis, self._settings, specification, new_id("job"), function)

    @store_errors()
    def get(self, id: str) -> Job:
        """Return a job.

        Raises:
            FaceterError: `NOT_FOUND` if there is none of that id, or it ended longer ago than they are kept.
        """
        return job_records.to_job(job_records.fetch(self._redis, id))

    @store_errors()
    def page(
        self,
        limit: int,
        cursor: str | None = None,
        status: JobStatus | None = None,
        kind: str | None = None,
        model_id: str | None = None,
        dataset_id: str | None = None,
    ) -> Page[Job]:
        """Return one page of jobs, newest first.

        Args:
            limit: Most jobs of the page, at least 1.
            cursor: `next_cursor` of the page before.
            status: Only jobs that stand so.
            kind: Only jobs of that kind.
            model_id: Only jobs that work on that model, or made it.
            dataset_id: Only jobs that work on that dataset, or made it.

        Raises:
            FaceterError: `INVALID_REQUEST` for a cursor that is not ours or a limit below 1.
        """
        resources = {id for id in (model_id, dataset_id) if id is not None}

        def wanted(job: Job) -> bool:
            return (
                (status is None or job.status is status)
                and (kind is None or job.kind == kind)
                and resources <= _resources(job)
            )

        return job_records.index(self._redis).page(
            limit, cursor, lambda ids: job_records.load(self._redis, ids), wanted
        )

    @store_errors()
    def cancel(self, id: str) -> Job:
        """End a job that is no longer wanted; at once if it is queued, within seconds if a worker is on it.

        The record says `canceled` from this moment, whatever becomes of the worker, and nothing of what the job was
        making will appear.

        Raises:
            FaceterError: `NOT_FOUND`; `JOB_ENDED` if it is over already.
        """
        return job_steps.cancel(self._redis, id)

    @store_errors()
    def request_end(self, id: str) -> Job:
        """Ask a running job to end as soon as it can and to keep the best it has; its record says `ending` from now on.

        A queued job has nothing to keep and is canceled, unless it has a checkpoint of an earlier attempt.

        Raises:
            FaceterError: `NOT_FOUND`; `JOB_ENDED` if it is over already.
        """
        return job_steps.request_end(self._redis, id)

    def rerun(self, id: str) -> Job:
        """Queue a new job that does the same as an earlier one.

        Raises:
            FaceterError: `NOT_FOUND`; `OVERLOADED`, see `enqueue`.
        """
        return self.enqueue(self.get(id).specification)

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
        """Queue again or fail the jobs whose worker has died; return their ids.

        To be called every few seconds by every API process; workers do the same when they are idle. It costs a few
        round trips and may run any number of times at once.
        """
        return reap(self._redis, self._settings)

    @store_errors()
    def statistics(self) -> QueueStatistics:
        """Return how the queue stands, for `/metrics`."""
        queue = job_records.rq_queue(self._redis)
        first = cast(list[bytes], self._redis.lrange(queue.key, 0, 0))
        waiting = 0.0
        if first:
            since = self._redis.hget(job_records.job_key(first[0].decode()), "enqueued_at")
            if since:
                waiting = max(0.0, (utc_now() - _utc(str_to_date(since))).total_seconds())
        workers = list(worker_registration.get_keys(queue=queue))
        return QueueStatistics(
            queued=self._queued(),
            running=int(self._redis.zcard(queue.started_job_registry.key)),
            oldest_queued_seconds=waiting,
            workers=int(self._redis.exists(*workers)) if workers else 0,
            ended=durations(self._redis),
        )

    async def events(
        self, id: str, last_event_id: str | None = None, heartbeat: float | None = None
    ) -> AsyncIterator[JobEvent]:
        """Yield what is told about a job, from the beginning or after an event, live, to its end.

        First come the kept events after ``last_event_id`` (all of them if it is None), then new ones as they
        happen: `status` with the whole job whenever it is queued, taken up or handed back; `progress`; a
        `heartbeat` without id or data when nothing was told for a while; and last, always, `end` with the whole job.
        It rides out an absence of Redis with heartbeats.

        Args:
            id: The job.
            last_event_id: Id of the last event the reader has; the value of `Last-Event-ID`.
            heartbeat: Longest silence, seconds; `events_heartbeat_seconds` if not given.

        Raises:
            FaceterError: `NOT_FOUND`; `INVALID_REQUEST` for an id that is not of our events;
                `STORE_UNAVAILABLE`. All before the first event.
        """
        check_last_event_id(last_event_id)
        await asyncio.to_thread(self.get, id)
        silence = self._settings.events_heartbeat_seconds if heartbeat is None else heartbeat
        client = connect_async(self._settings)
        try:
            async for event in follow(client, lambda: self.get(id), id, last_event_id, silence):
                yield event
        finally:
            await client.aclose()

    def _queued(self) -> int:
        return int(self._redis.llen(job_records.rq_queue(self._redis).key))


def _resources(job: Job) -> set[str]:
    """Return the ids of the models and datasets that a job reads or made."""
    made = [] if job.result is None else [job.result.model_id, job.result.dataset_id]
    return {*job.specification.uses, *(id for id in made if id is not None)}


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
