"""The events of a job as clients follow them, with and without the store."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from redis import Redis

from app.services.jobs.queue import JobQueue
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.jobs import Job, JobStatus, Progress
from faceter.contracts.settings import Settings
from faceter.store import job_steps
from faceter.store.connection import connect
from faceter.store.job_events import MAX_EVENTS, JobEvent, stream_key
from tests.conftest import start_valkey
from tests.store.jobs.worker_side import LOST, RESULT, claimed, progress
from tests.workers.long_tasks import job_spec


async def collect(events: AsyncIterator[JobEvent], most: int = 10_000) -> list[JobEvent]:
    received: list[JobEvent] = []
    async for event in events:
        received.append(event)
        if len(received) == most:
            break
    return received


def of_interest(events: list[JobEvent]) -> list[str]:
    return [event.event for event in events if event.event != "heartbeat"]


def test_events_cover_a_job_from_beginning_to_end(queue: JobQueue, redis: Redis) -> None:
    job = queue.enqueue(job_spec("succeeds"))
    execution = claimed(redis, job.id)
    job_steps.record_progress(redis, execution, progress(0.5))
    job_steps.succeed(redis, execution, RESULT)
    events = asyncio.run(collect(queue.events(job.id)))
    assert of_interest(events) == ["status", "status", "progress", "end"]
    jobs = [Job.model_validate(event.data) for event in events if event.event in ("status", "end")]
    assert [told.status for told in jobs] == [JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.SUCCEEDED]
    assert jobs[-1] == queue.get(job.id)
    assert Progress.model_validate(events[2].data).fraction == 0.5
    rest = asyncio.run(collect(queue.events(job.id, events[1].id)))
    assert rest == events[2:]
    after_the_end = asyncio.run(collect(queue.events(job.id, events[-1].id)))
    assert after_the_end == events[-1:]


def test_events_are_live_with_heartbeats(queue: JobQueue, redis: Redis) -> None:
    async def live() -> list[JobEvent]:
        job = queue.enqueue(job_spec("succeeds"))
        events = queue.events(job.id, heartbeat=0.1)
        seen = [await anext(events), await anext(events), await anext(events)]
        execution = await asyncio.to_thread(claimed, redis, job.id)
        await asyncio.to_thread(job_steps.fail, redis, execution, LOST.problem())
        return seen + await collect(events)

    events = asyncio.run(live())
    assert [event.event for event in events[:3]] == ["status", "heartbeat", "heartbeat"]
    assert (events[1].id, events[1].data) == (None, None)
    assert of_interest(events) == ["status", "status", "end"]
    assert Job.model_validate(events[-1].data).status is JobStatus.FAILED


@pytest.mark.parametrize("how", ["cancel", "requeue_or_fail"])
def test_a_job_that_is_killed_ends_its_events(queue: JobQueue, redis: Redis, settings: Settings, how: str) -> None:
    job = queue.enqueue(job_spec("succeeds"))
    execution = claimed(redis, job.id)
    if how == "cancel":
        queue.cancel(job.id)
    else:
        job_steps.requeue_or_fail(redis, settings.model_copy(update={"job_attempts": 1}), execution, LOST)
    assert of_interest(asyncio.run(collect(queue.events(job.id)))) == ["status", "status", "end"]


def test_an_end_missing_in_the_stream_is_generated(queue: JobQueue, redis: Redis) -> None:
    job = queue.enqueue(job_spec("succeeds"))
    queue.cancel(job.id)
    redis.delete(stream_key(job.id))
    (end,) = asyncio.run(collect(queue.events(job.id, heartbeat=0.1)))
    assert end.event == "end"
    assert Job.model_validate(end.data) == queue.get(job.id)


def test_a_long_job_keeps_its_latest_events(queue: JobQueue, redis: Redis) -> None:
    job = queue.enqueue(job_spec("succeeds"))
    execution = claimed(redis, job.id)
    for n in range(MAX_EVENTS + 300):
        job_steps.record_progress(redis, execution, progress(n / 2000))
    job_steps.succeed(redis, execution, RESULT)
    events = asyncio.run(collect(queue.events(job.id)))
    assert MAX_EVENTS <= len(events) < MAX_EVENTS + 300
    assert events[-1].ends


def test_events_of_unknown_jobs_and_invalid_ids_are_refused(queue: JobQueue) -> None:
    with pytest.raises(FaceterError) as missing:
        asyncio.run(collect(queue.events("job_none")))
    assert missing.value.kind is ProblemKind.NOT_FOUND
    job = queue.enqueue(job_spec("succeeds"))
    with pytest.raises(FaceterError) as bad:
        asyncio.run(collect(queue.events(job.id, "yesterday")))
    assert bad.value.errors[0].field == "Last-Event-ID"


def test_while_the_store_is_down_requests_fail_and_then_recover(short_path: Path) -> None:
    server = start_valkey(short_path)
    settings = Settings(_env_file=None, data_dir=short_path, redis_url=f"unix://{short_path / 'valkey.sock'}")
    with connect(settings) as redis:
        queue = JobQueue(redis, settings)
        job = queue.enqueue(job_spec("succeeds"))

        async def across_the_gap() -> list[JobEvent]:
            events = queue.events(job.id, heartbeat=0.2)
            seen = [await anext(events)]
            await asyncio.to_thread(server.stop)
            seen += [await anext(events), await anext(events)]
            await asyncio.to_thread(server.start)
            await asyncio.to_thread(queue.cancel, job.id)
            return seen + await collect(events)

        seen = asyncio.run(across_the_gap())
        assert [event.event for event in seen[:3]] == ["status", "heartbeat", "heartbeat"]
        assert of_interest(seen) == ["status", "end"]
        server.stop()
        calls: list[Callable[[], object]] = [
            lambda: queue.enqueue(job_spec("succeeds")),
            lambda: queue.get(job.id),
            lambda: queue.page(1, None, lambda job: True),
            lambda: queue.cancel(job.id),
            lambda: queue.request_end(job.id),
            lambda: queue.jobs_using("mdl_any"),
            queue.reap,
            queue.statistics,
            lambda: asyncio.run(collect(queue.events(job.id))),
        ]
        for call in calls:
            with pytest.raises(FaceterError) as away:
                call()
            assert away.value.kind is ProblemKind.STORE_UNAVAILABLE
            assert away.value.retry_after
        server.start()
        assert queue.get(job.id).status is JobStatus.CANCELED
        server.stop()
