"""Claims, leases, and jobs of dead workers."""

import threading
import time
from collections.abc import Callable

import pytest
from redis import Redis
from rq.executions import Execution

from app.services.jobs.queue import JobQueue
from faceter.contracts.errors import ProblemKind
from faceter.contracts.jobs import JobStatus
from faceter.contracts.settings import Settings
from faceter.store import job_queues, job_records, job_steps
from tests.store.jobs.worker_side import LOST, RESULT, claim, claimed, progress
from tests.workers.long_tasks import job_spec
from tests.workers.processes import try_cancel


@pytest.mark.parametrize("how", ["succeed", "fail", "cancel", "go on"])
def test_a_worker_recognizes_the_end_of_its_own_job(queue: JobQueue, redis: Redis, how: str) -> None:
    execution = claimed(redis, queue.enqueue(job_spec("succeeds")).id)
    match how:
        case "succeed":
            job_steps.succeed(redis, execution, RESULT)
        case "fail":
            job_steps.fail(redis, execution, LOST.problem())
        case "cancel":
            queue.cancel(execution.job_id)
    assert job_steps.has_ended(redis, execution) is (how in ("succeed", "fail"))
    assert not job_steps.has_ended(redis, Execution("another", execution.job_id, redis))


@pytest.mark.parametrize("step", ["progress", "succeed", "fail", "renew", "return_to_queue", "requeue_or_fail"])
def test_without_the_lease_nothing_changes(queue: JobQueue, redis: Redis, settings: Settings, step: str) -> None:
    job = queue.enqueue(job_spec("succeeds"))
    execution = claimed(redis, job.id)
    queue.cancel(job.id)
    before = redis.hgetall(job_records.job_key(job.id))
    match step:
        case "renew":
            assert not job_steps.renew(redis, execution, 60)
        case "return_to_queue":
            assert not job_steps.return_to_queue(redis, execution)
        case "requeue_or_fail":
            assert not job_steps.requeue_or_fail(redis, settings, execution, LOST)
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


def test_a_job_queued_twice_runs_once(queue: JobQueue, redis: Redis) -> None:
    job = queue.enqueue(job_spec("succeeds"))
    assert claim(redis, job.id) is not None
    with redis.pipeline() as pipeline:
        job_queues.queue_waiting(pipeline, job_records.fetch(redis, job.id))
        pipeline.execute()
    assert claim(redis, job.id) is None
    assert queue.get(job.id).attempts == 1


def test_many_workers_claim_a_job_once(queue: JobQueue, redis: Redis) -> None:
    job = queue.enqueue(job_spec("succeeds"))
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


def test_concurrent_cancel_and_success_have_one_winner(queue: JobQueue, redis: Redis) -> None:
    winners = set()
    for _ in range(30):
        job = queue.enqueue(job_spec("succeeds"))
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
        if try_cancel(queue, job.id):
            won.append("canceled")
        thread.join()
        assert won == [queue.get(job.id).status.value]
        winners.update(won)
    assert winners


def test_an_expired_lease_requeues_the_job_and_finally_fails_it(reaping: JobQueue, redis: Redis) -> None:
    job = reaping.enqueue(job_spec("succeeds"))
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
    assert failed.error.instance is None, "addresses are the API's to make"


def test_a_renewed_lease_is_not_reaped(reaping: JobQueue, redis: Redis) -> None:
    job = reaping.enqueue(job_spec("succeeds"))
    execution = claimed(redis, job.id, lease=0)
    assert job_steps.renew(redis, execution, 60)
    assert reaping.reap() == []
    assert reaping.get(job.id).status is JobStatus.RUNNING


def test_nothing_is_reaped_just_after_the_store_came_back(redis: Redis, settings: Settings) -> None:
    queue = JobQueue(redis, settings.model_copy(update={"worker_lost_seconds": 24 * 3600}))
    job = queue.enqueue(job_spec("succeeds"))
    claimed(redis, job.id, lease=0)
    time.sleep(0.01)
    assert queue.reap() == []
    assert queue.get(job.id).status is JobStatus.RUNNING


def test_many_reapers_take_a_job_once(reaping: JobQueue, redis: Redis) -> None:
    job = reaping.enqueue(job_spec("succeeds"))
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


def test_a_job_returned_to_the_queue_keeps_its_attempts(queue: JobQueue, redis: Redis, settings: Settings) -> None:
    waiting = [queue.enqueue(job_spec("succeeds")) for _ in range(2)]
    for _ in range(5):
        assert job_steps.return_to_queue(redis, claimed(redis, waiting[0].id))
    for _ in range(settings.job_attempts):
        assert queue.get(waiting[0].id).status is JobStatus.QUEUED
        assert job_steps.requeue_or_fail(redis, settings, claimed(redis, waiting[0].id), LOST)
    assert queue.get(waiting[0].id).status is JobStatus.FAILED


def test_a_job_whose_worker_died_before_claiming_it_is_requeued(redis: Redis, settings: Settings) -> None:
    queue = JobQueue(redis, settings.model_copy(update={"worker_lost_seconds": 0.02}))
    job = queue.enqueue(job_spec("succeeds"))
    assert job_queues.take(redis, job_queues.Capabilities()) == job.id
    queue.reap()
    assert queue.statistics().queued == 0
    time.sleep(0.05)
    queue.reap()
    assert queue.statistics().queued == 1
    assert claim(redis, job.id) is not None


def test_a_lease_from_before_the_clock_went_back_is_expired(reaping: JobQueue, redis: Redis) -> None:
    jobs = [reaping.enqueue(job_spec("succeeds")) for _ in range(2)]
    claimed(redis, jobs[0].id, lease=2 * 3600)
    claimed(redis, jobs[1].id, lease=60)
    assert reaping.reap() == [jobs[0].id]
