"""Jobs that are asked to finish early with their best result."""

import asyncio

import pytest
from redis import Redis

from app.services.jobs.queue import JobQueue
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.jobs import Job, JobStatus
from faceter.contracts.settings import Settings
from faceter.store import job_checkpoints, job_records, job_steps
from tests.store.jobs.test_events import collect, of_interest
from tests.store.jobs.worker_side import LOST, RESULT, claim, claimed
from tests.workers.long_tasks import job_spec


def test_a_running_job_is_asked_to_finish_and_succeeds(queue: JobQueue, redis: Redis) -> None:
    execution = claimed(redis, queue.enqueue(job_spec("succeeds")).id)
    assert not job_records.is_ending(redis, execution.job_id)
    asked = queue.request_end(execution.job_id)
    assert (asked.status, asked.ending) == (JobStatus.RUNNING, True)
    assert queue.get(execution.job_id) == asked == queue.request_end(execution.job_id)
    assert job_records.is_ending(redis, execution.job_id)
    job_steps.succeed(redis, execution, RESULT)
    assert queue.get(execution.job_id).status is JobStatus.SUCCEEDED


def test_followers_get_each_event_once(queue: JobQueue, redis: Redis) -> None:
    execution = claimed(redis, queue.enqueue(job_spec("succeeds")).id)
    for _ in range(3):
        queue.request_end(execution.job_id)
    job_steps.succeed(redis, execution, RESULT)
    events = asyncio.run(collect(queue.events(execution.job_id)))
    assert of_interest(events) == ["status", "status", "status", "end"]
    assert [Job.model_validate(event.data).ending for event in events] == [False, False, True, True]


def test_a_queued_job_asked_to_finish_is_canceled(queue: JobQueue, redis: Redis) -> None:
    job = queue.enqueue(job_spec("succeeds"))
    ended = queue.request_end(job.id)
    assert (ended.status, ended.ending) == (JobStatus.CANCELED, False)
    assert queue.get(job.id) == ended
    assert claim(redis, job.id) is None


@pytest.mark.parametrize("how", ["return_to_queue", "requeue_or_fail"])
def test_a_requeued_job_asked_to_finish_is_canceled_only_without_a_checkpoint(
    queue: JobQueue, redis: Redis, settings: Settings, how: str
) -> None:
    for checkpoint in (True, False):
        execution = claimed(redis, queue.enqueue(job_spec("succeeds")).id)
        if checkpoint:
            job_checkpoints.save(redis, execution, "0" * 64)
        if how == "requeue_or_fail":
            job_steps.requeue_or_fail(redis, settings, execution, LOST)
        else:
            job_steps.return_to_queue(redis, execution)
        asked = queue.request_end(execution.job_id)
        assert (asked.status, asked.ending) == ((JobStatus.QUEUED, True) if checkpoint else (JobStatus.CANCELED, False))
        if checkpoint:
            claimed(redis, execution.job_id)
            assert job_records.is_ending(redis, execution.job_id)


def test_a_request_to_finish_survives_the_death_of_the_worker(
    queue: JobQueue, redis: Redis, settings: Settings
) -> None:
    execution = claimed(redis, queue.enqueue(job_spec("succeeds")).id)
    queue.request_end(execution.job_id)
    job_steps.requeue_or_fail(redis, settings, execution, LOST)
    claimed(redis, execution.job_id)
    assert queue.get(execution.job_id).ending


def test_a_job_asked_to_finish_can_be_canceled(queue: JobQueue, redis: Redis) -> None:
    execution = claimed(redis, queue.enqueue(job_spec("succeeds")).id)
    queue.request_end(execution.job_id)
    assert queue.cancel(execution.job_id).status is JobStatus.CANCELED


def test_an_ended_job_cannot_be_asked_to_finish(queue: JobQueue, redis: Redis) -> None:
    execution = claimed(redis, queue.enqueue(job_spec("succeeds")).id)
    job_steps.succeed(redis, execution, RESULT)
    with pytest.raises(FaceterError) as over:
        queue.request_end(execution.job_id)
    assert over.value.kind is ProblemKind.JOB_ENDED
    with pytest.raises(FaceterError) as missing:
        queue.request_end("job_none")
    assert missing.value.kind is ProblemKind.NOT_FOUND


def test_a_rerun_is_not_asked_to_finish(queue: JobQueue, redis: Redis) -> None:
    execution = claimed(redis, queue.enqueue(job_spec("succeeds")).id)
    queue.request_end(execution.job_id)
    assert not queue.enqueue(queue.get(execution.job_id).specification).ending
