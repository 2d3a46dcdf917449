"""The job queue on a real Valkey server, the worker's side played step by step."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path

import pytest
from redis import Redis
from rq.executions import Execution

from app.queue import JobQueue
from faceter.contracts.base import utc_now
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.jobs import Job, JobResult, JobStatus, Progress
from faceter.contracts.settings import Settings
from faceter.store import job_records, job_steps
from faceter.store.connection import connect
from faceter.store.job_events import MAX_EVENTS, JobEvent, stream_key
from tests.conftest import start_valkey
from tests.workers.long_tasks import job_that
from tests.workers.processes import cancels

RESULT = JobResult(model_id="mdl_made", url="/v1/models/mdl_made")
LOST = FaceterError(ProblemKind.WORKER_LOST, "gone")


@pytest.fixture
def queue(redis: Redis, settings: Settings) -> JobQueue:
    return JobQueue(redis, settings)


@pytest.fixture
def reaping(redis: Redis, settings: Settings) -> JobQueue:
    """A queue that does not wait for the server to have been up for a while, as the tests' own has not."""
    return JobQueue(redis, settings.model_copy(update={"worker_lost_seconds": 0}))


def claim(redis: Redis, job_id: str, lease: float = 60, worker: str = "worker") -> Execution | None:
    """Take the job off the queue as a worker does, by way of the list in between."""
    queue = job_records.rq_queue(redis)
    redis.lmove(queue.key, queue.intermediate_queue_key)
    return job_steps.claim(redis, job_records.fetch(redis, job_id), worker, lease)


def claimed(redis: Redis, job_id: str, lease: float = 60) -> Execution:
    execution = claim(redis, job_id, lease)
    assert execution is not None
    return execution


def progress(fraction: float) -> Progress:
    return Progress(step="working", fraction=fraction, updated_at=utc_now())


def test_a_new_job_is_queued_under_its_own_id_and_in_json(queue: JobQueue, redis: Redis) -> None:
    job = queue.enqueue(job_that("succeeds"))
    assert job.status is JobStatus.QUEUED
    assert job.id.startswith("job_")
    assert job.links == {"self": f"/v1/jobs/{job.id}", "events": f"/v1/jobs/{job.id}/events"}
    assert queue.get(job.id) == job
    stored = job_records.fetch(redis, job.id)
    assert stored.func_name == "workers.tasks.quantization"
    assert json.loads(stored.data)[2] == [job.specification.model_dump(mode="json")]


def test_a_job_runs_and_succeeds(queue: JobQueue, redis: Redis) -> None:
    job = queue.enqueue(job_that("succeeds"))
    execution = claimed(redis, job.id)
    running = queue.get(job.id)
    assert (running.status, running.attempts, running.ended_at) == (JobStatus.RUNNING, 1, None)
    job_steps.record_progress(redis, execution, progress(0.4))
    assert (queue.get(job.id).progress or progress(0)).fraction == 0.4
    job_steps.succeed(redis, execution, RESULT)
    done = queue.get(job.id)
    assert (done.status, done.result) == (JobStatus.SUCCEEDED, RESULT)
    assert queue.statistics().running == 0


def test_what_a_job_made_appears_with_its_success_and_not_after_it_was_canceled(queue: JobQueue, redis: Redis) -> None:
    kept, dropped = queue.enqueue(job_that("succeeds")), queue.enqueue(job_that("succeeds"))
    first, second = claimed(redis, kept.id), claimed(redis, dropped.id)
    queue.cancel(dropped.id)
    job_steps.succeed(redis, first, RESULT, publish=lambda pipeline: pipeline.set("kept", 1))
    with pytest.raises(job_steps.LeaseLostError):
        job_steps.succeed(redis, second, RESULT, publish=lambda pipeline: pipeline.set("dropped", 1))
    assert (redis.exists("kept"), redis.exists("dropped")) == (1, 0)
    assert queue.get(dropped.id).status is JobStatus.CANCELED


@pytest.mark.parametrize("how", ["succeed", "fail", "cancel", "go on"])
def test_a_worker_can_tell_its_own_end_from_anothers(queue: JobQueue, redis: Redis, how: str) -> None:
    execution = claimed(redis, queue.enqueue(job_that("succeeds")).id)
    match how:
        case "succeed":
            job_steps.succeed(redis, execution, RESULT)
        case "fail":
            job_steps.fail(redis, execution, LOST.problem())
        case "cancel":
            queue.cancel(execution.job_id)
    assert job_steps.has_ended(redis, execution) is (how in ("succeed", "fail"))
    assert not job_steps.has_ended(redis, Execution("another", execution.job_id, redis))


def test_a_success_recorded_twice_is_one(queue: JobQueue, redis: Redis) -> None:
    job = queue.enqueue(job_that("succeeds"))
    execution = claimed(redis, job.id)
    for _ in range(2):
        job_steps.succeed(redis, execution, RESULT, publish=lambda pipeline: pipeline.incr("published"))
    assert redis.get("published") == b"1"


@pytest.mark.parametrize("step", ["progress", "succeed", "fail", "renew", "hand_back", "lose"])
def test_who_lost_the_lease_changes_nothing(queue: JobQueue, redis: Redis, settings: Settings, step: str) -> None:
    job = queue.enqueue(job_that("succeeds"))
    execution = claimed(redis, job.id)
    queue.cancel(job.id)
    before = redis.hgetall(job_records.job_key(job.id))
    match step:
        case "renew":
            assert not job_steps.renew(redis, execution, 60)
        case "hand_back":
            assert not job_steps.hand_back(redis, execution)
        case "lose":
            assert not job_steps.lose(redis, settings, execution, LOST)
        case _:
            writes: dict[str, Callable[[], None]] = {
                "progress": lambda: job_steps.record_progress(redis, execution, progress(0.9)),
                "succeed": lambda: job_steps.succeed(redis, execution, RESULT),
                "fail": lambda: job_steps.fail(redis, execution, LOST.problem()),
            }
            with pytest.raises(job_steps.LeaseLostError):
                writes[step]()
    assert redis.hgetall(job_records.job_key(job.id)) == before
    assert queue.statistics().running == 0


def test_a_job_queued_twice_is_done_once(queue: JobQueue, redis: Redis) -> None:
    job = queue.enqueue(job_that("succeeds"))
    redis.rpush(job_records.rq_queue(redis).key, job.id)
    assert claim(redis, job.id) is not None
    assert claim(redis, job.id) is None
    assert queue.get(job.id).attempts == 1


def test_many_workers_claim_a_job_once(queue: JobQueue, redis: Redis) -> None:
    job = queue.enqueue(job_that("succeeds"))
    executions: list[Execution | None] = []
    barrier = threading.Barrier(8)

    def worker() -> None:
        barrier.wait()
        executions.append(job_steps.claim(redis, job_records.fetch(redis, job.id), "worker", 60))

    threads = [threading.Thread(target=worker) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([execution for execution in executions if execution is not None]) == 1
    assert queue.get(job.id).attempts == 1


def test_cancel_and_success_at_once_have_one_winner(queue: JobQueue, redis: Redis) -> None:
    winners = set()
    for _ in range(30):
        job = queue.enqueue(job_that("succeeds"))
        execution = claimed(redis, job.id)
        barrier = threading.Barrier(2)
        won: list[str] = []

        def succeed(execution: Execution = execution, won: list[str] = won, at: threading.Barrier = barrier) -> None:
            at.wait()
            try:
                job_steps.succeed(redis, execution, RESULT)
            except job_steps.LeaseLostError:
                return
            won.append("succeeded")

        thread = threading.Thread(target=succeed)
        thread.start()
        barrier.wait()
        if cancels(queue, job.id):
            won.append("canceled")
        thread.join()
        assert won == [queue.get(job.id).status.value]
        winners.update(won)
    assert winners


def test_a_queued_job_is_canceled(queue: JobQueue, redis: Redis) -> None:
    job = queue.enqueue(job_that("succeeds"))
    canceled = queue.cancel(job.id)
    assert (canceled.status, canceled.attempts) == (JobStatus.CANCELED, 0)
    assert canceled.ended_at is not None
    assert queue.get(job.id) == canceled
    assert queue.statistics().queued == 0
    assert claim(redis, job.id) is None
    with pytest.raises(FaceterError) as again:
        queue.cancel(job.id)
    assert again.value.kind is ProblemKind.JOB_ENDED


def test_a_job_is_run_again(queue: JobQueue, redis: Redis) -> None:
    job = queue.enqueue(job_that("succeeds", "twice"))
    job_steps.succeed(redis, claimed(redis, job.id), RESULT)
    again = queue.rerun(job.id)
    assert again.id != job.id
    assert again.specification == job.specification
    assert (again.status, again.result, again.attempts) == (JobStatus.QUEUED, None, 0)


@pytest.mark.parametrize("id", ["job_none", "", "job:1", "ünïcode", "a b"])
def test_an_unknown_job_is_not_found(queue: JobQueue, id: str) -> None:
    for call in (queue.get, queue.cancel, queue.rerun):
        with pytest.raises(FaceterError) as error:
            call(id)
        assert error.value.kind is ProblemKind.NOT_FOUND


def test_too_many_waiting_jobs_are_refused(redis: Redis, settings: Settings) -> None:
    queue = JobQueue(redis, settings.model_copy(update={"max_queued_jobs": 2}))
    first = queue.enqueue(job_that("succeeds"))
    queue.enqueue(job_that("succeeds"))
    with pytest.raises(FaceterError) as full:
        queue.enqueue(job_that("succeeds"))
    assert full.value.kind is ProblemKind.OVERLOADED
    assert full.value.retry_after
    claimed(redis, first.id)
    queue.enqueue(job_that("succeeds"))


def test_jobs_are_listed_newest_first_and_filtered(queue: JobQueue, redis: Redis) -> None:
    jobs = [queue.enqueue(job_that("succeeds", n)) for n in range(5)]
    job_steps.succeed(redis, claimed(redis, jobs[0].id), RESULT)
    claimed(redis, jobs[1].id)
    newest = [job.id for job in reversed(jobs)]
    first = queue.page(2)
    assert [job.id for job in first.items] == newest[:2]
    queue.enqueue(job_that("succeeds"))
    second = queue.page(10, first.next_cursor)
    assert [job.id for job in second.items] == newest[2:]
    assert second.next_cursor is None
    assert [job.id for job in queue.page(10, status=JobStatus.SUCCEEDED).items] == [jobs[0].id]
    assert [job.id for job in queue.page(10, status=JobStatus.RUNNING).items] == [jobs[1].id]
    assert [job.id for job in queue.page(10, model_id="mdl_made").items] == [jobs[0].id]
    assert len(queue.page(10, model_id=jobs[0].specification.model_id, kind="quantization").items) == 6
    assert queue.page(10, kind="explanation").items == []
    with pytest.raises(FaceterError) as bad:
        queue.page(10, cursor="never given out")
    assert bad.value.errors[0].field == "cursor"


def test_jobs_that_use_a_resource_are_known_while_they_last(queue: JobQueue, redis: Redis) -> None:
    job = queue.enqueue(job_that("succeeds"))
    model = job.specification.model_id
    assert queue.jobs_using(model) == [job.id]
    execution = claimed(redis, job.id)
    assert queue.jobs_using(model) == [job.id]
    assert queue.jobs_using("mdl_other") == []
    job_steps.fail(redis, execution, LOST.problem())
    assert queue.jobs_using(model) == []


def test_a_lease_that_ran_out_gives_the_job_to_another_and_then_fails_it(reaping: JobQueue, redis: Redis) -> None:
    job = reaping.enqueue(job_that("succeeds"))
    for attempt in (1, 2):
        execution = claimed(redis, job.id, lease=0)
        time.sleep(0.01)
        assert reaping.get(job.id).attempts == attempt
        assert reaping.reap() == [job.id]
        assert reaping.reap() == []
        with pytest.raises(job_steps.LeaseLostError):
            job_steps.succeed(redis, execution, RESULT)
    failed = reaping.get(job.id)
    assert failed.status is JobStatus.FAILED
    assert failed.error is not None
    assert failed.error.type == ProblemKind.WORKER_LOST.type
    assert failed.error.instance == f"/v1/jobs/{job.id}"


def test_a_renewed_lease_is_not_reaped(reaping: JobQueue, redis: Redis) -> None:
    job = reaping.enqueue(job_that("succeeds"))
    execution = claimed(redis, job.id, lease=0)
    assert job_steps.renew(redis, execution, 60)
    assert reaping.reap() == []
    assert reaping.get(job.id).status is JobStatus.RUNNING


def test_nothing_is_reaped_just_after_the_store_came_back(redis: Redis, settings: Settings) -> None:
    queue = JobQueue(redis, settings.model_copy(update={"worker_lost_seconds": 24 * 3600}))
    job = queue.enqueue(job_that("succeeds"))
    claimed(redis, job.id, lease=0)
    time.sleep(0.01)
    assert queue.reap() == []
    assert queue.get(job.id).status is JobStatus.RUNNING


def test_many_reapers_take_a_job_once(reaping: JobQueue, redis: Redis) -> None:
    job = reaping.enqueue(job_that("succeeds"))
    claimed(redis, job.id, lease=0)
    time.sleep(0.01)
    reaped: list[str] = []
    threads = [threading.Thread(target=lambda: reaped.extend(reaping.reap())) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert reaped == [job.id]
    assert reaping.statistics().queued == 1


def test_a_job_handed_back_keeps_its_attempts(queue: JobQueue, redis: Redis, settings: Settings) -> None:
    waiting = [queue.enqueue(job_that("succeeds")) for _ in range(2)]
    for _ in range(5):
        assert job_steps.hand_back(redis, claimed(redis, waiting[0].id))
    for _ in range(settings.job_attempts):
        assert queue.get(waiting[0].id).status is JobStatus.QUEUED
        assert job_steps.lose(redis, settings, claimed(redis, waiting[0].id), LOST)
    assert queue.get(waiting[0].id).status is JobStatus.FAILED


def test_a_job_taken_off_the_queue_by_a_worker_that_died_before_claiming_it_is_queued_again(
    redis: Redis, settings: Settings
) -> None:
    queue = JobQueue(redis, settings.model_copy(update={"worker_lost_seconds": 0.02}))
    job = queue.enqueue(job_that("succeeds"))
    rq_queue = job_records.rq_queue(redis)
    redis.lmove(rq_queue.key, rq_queue.intermediate_queue_key)
    queue.reap()
    assert queue.statistics().queued == 0
    time.sleep(0.05)
    queue.reap()
    assert queue.statistics().queued == 1
    assert claim(redis, job.id) is not None


def test_ended_jobs_expire_and_leave_the_lists(redis: Redis, settings: Settings) -> None:
    queue = JobQueue(redis, settings.model_copy(update={"job_retention_seconds": 1}))
    ended = [queue.enqueue(job_that("succeeds")) for _ in range(3)]
    job_steps.succeed(redis, claimed(redis, ended[0].id), RESULT)
    job_steps.fail(redis, claimed(redis, ended[1].id), LOST.problem())
    queue.cancel(ended[2].id)
    kept = queue.enqueue(job_that("succeeds"))
    assert len(queue.page(10).items) == 4
    time.sleep(1.1)
    assert [job.id for job in queue.page(10).items] == [kept.id]
    queue.reap()
    assert job_records.index(redis).count() == 1
    for job in ended:
        assert redis.keys(f"*{job.id}*") == []


def test_statistics(queue: JobQueue, redis: Redis) -> None:
    empty = queue.statistics()
    assert (empty.queued, empty.running, empty.workers, empty.oldest_queued_seconds, empty.ended) == (0, 0, 0, 0, {})
    jobs = [queue.enqueue(job_that("succeeds")) for _ in range(3)]
    job_steps.succeed(redis, claimed(redis, jobs[0].id), RESULT)
    claimed(redis, jobs[1].id)
    time.sleep(0.01)
    now = queue.statistics()
    assert (now.queued, now.running) == (1, 1)
    assert now.oldest_queued_seconds > 0
    ended = now.ended["quantization", "succeeded"]
    assert ended.count == 1
    assert ended.seconds > 0
    assert all(low <= high for low, high in pairwise(ended.at_most.values()))
    assert max(ended.at_most.values()) == 1


async def collect(events: AsyncIterator[JobEvent], most: int = 10_000) -> list[JobEvent]:
    found: list[JobEvent] = []
    async for event in events:
        found.append(event)
        if len(found) == most:
            break
    return found


def of_interest(events: list[JobEvent]) -> list[str]:
    return [event.event for event in events if event.event != "heartbeat"]


def test_events_tell_a_job_from_its_beginning_to_its_end(queue: JobQueue, redis: Redis) -> None:
    job = queue.enqueue(job_that("succeeds"))
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


def test_events_come_live_with_heartbeats_between(queue: JobQueue, redis: Redis) -> None:
    async def live() -> list[JobEvent]:
        job = queue.enqueue(job_that("succeeds"))
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


@pytest.mark.parametrize("how", ["cancel", "lose"])
def test_a_job_that_is_killed_ends_its_events(queue: JobQueue, redis: Redis, settings: Settings, how: str) -> None:
    job = queue.enqueue(job_that("succeeds"))
    execution = claimed(redis, job.id)
    if how == "cancel":
        queue.cancel(job.id)
    else:
        job_steps.lose(redis, settings.model_copy(update={"job_attempts": 1}), execution, LOST)
    assert of_interest(asyncio.run(collect(queue.events(job.id)))) == ["status", "status", "end"]


def test_an_end_that_is_no_longer_in_the_stream_is_made_up(queue: JobQueue, redis: Redis) -> None:
    job = queue.enqueue(job_that("succeeds"))
    queue.cancel(job.id)
    redis.delete(stream_key(job.id))
    (end,) = asyncio.run(collect(queue.events(job.id, heartbeat=0.1)))
    assert end.event == "end"
    assert Job.model_validate(end.data) == queue.get(job.id)


def test_a_long_job_keeps_its_latest_events(queue: JobQueue, redis: Redis) -> None:
    job = queue.enqueue(job_that("succeeds"))
    execution = claimed(redis, job.id)
    for n in range(MAX_EVENTS + 300):
        job_steps.record_progress(redis, execution, progress(n / 2000))
    job_steps.succeed(redis, execution, RESULT)
    events = asyncio.run(collect(queue.events(job.id)))
    assert MAX_EVENTS <= len(events) < MAX_EVENTS + 300
    assert events[-1].ends


def test_events_of_nothing_and_from_nowhere_are_refused(queue: JobQueue) -> None:
    with pytest.raises(FaceterError) as missing:
        asyncio.run(collect(queue.events("job_none")))
    assert missing.value.kind is ProblemKind.NOT_FOUND
    job = queue.enqueue(job_that("succeeds"))
    with pytest.raises(FaceterError) as bad:
        asyncio.run(collect(queue.events(job.id, "yesterday")))
    assert bad.value.errors[0].field == "Last-Event-ID"


def test_while_the_store_is_away_everything_says_so_and_then_works_again(short_path: Path) -> None:
    server = start_valkey(short_path)
    settings = Settings(_env_file=None, data_dir=short_path, redis_url=f"unix://{short_path / 'valkey.sock'}")
    with connect(settings) as redis:
        queue = JobQueue(redis, settings)
        job = queue.enqueue(job_that("succeeds"))

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
            lambda: queue.enqueue(job_that("succeeds")),
            lambda: queue.get(job.id),
            lambda: queue.page(1),
            lambda: queue.cancel(job.id),
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
