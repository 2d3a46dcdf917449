"""The job queue on a real Valkey server, with the steps of a worker simulated."""

import json
import time
from itertools import pairwise
from typing import Any

import pytest
from redis import Redis

from app.services.jobs.queue import JobQueue
from faceter.contracts.base import Page
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.jobs import Job, JobFilter, JobKind, JobStatus
from faceter.contracts.settings import Settings
from faceter.store import job_records, job_steps
from tests.store.jobs.worker_side import LOST, RESULT, claim, claimed, progress
from tests.workers.long_tasks import job_spec


def test_a_new_job_is_queued_under_its_own_id_and_in_json(queue: JobQueue, redis: Redis) -> None:
    job = queue.enqueue(job_spec("succeeds"))
    assert job.status is JobStatus.QUEUED
    assert job.id.startswith("job_")
    assert queue.get(job.id) == job
    stored = job_records.fetch(redis, job.id)
    assert stored.func_name == "workers.tasks.quantization"
    assert json.loads(stored.data)[2] == [job.specification.model_dump(mode="json")]


def test_a_job_runs_and_succeeds(queue: JobQueue, redis: Redis) -> None:
    job = queue.enqueue(job_spec("succeeds"))
    execution = claimed(redis, job.id)
    running = queue.get(job.id)
    assert (running.status, running.attempts, running.ended_at) == (JobStatus.RUNNING, 1, None)
    job_steps.record_progress(redis, execution, progress(0.4))
    assert (queue.get(job.id).progress or progress(0)).fraction == 0.4
    job_steps.succeed(redis, execution, RESULT)
    done = queue.get(job.id)
    assert (done.status, done.result) == (JobStatus.SUCCEEDED, RESULT)
    assert queue.statistics().running == 0


def test_results_are_published_with_success_and_not_after_cancellation(queue: JobQueue, redis: Redis) -> None:
    kept, dropped = queue.enqueue(job_spec("succeeds")), queue.enqueue(job_spec("succeeds"))
    first, second = claimed(redis, kept.id), claimed(redis, dropped.id)
    queue.cancel(dropped.id)
    job_steps.succeed(redis, first, RESULT, publish=lambda pipeline: pipeline.set("kept", 1))
    with pytest.raises(job_steps.LeaseLostError):
        job_steps.succeed(redis, second, RESULT, publish=lambda pipeline: pipeline.set("dropped", 1))
    assert (redis.exists("kept"), redis.exists("dropped")) == (1, 0)
    assert queue.get(dropped.id).status is JobStatus.CANCELED


def test_a_success_recorded_twice_counts_once(queue: JobQueue, redis: Redis) -> None:
    job = queue.enqueue(job_spec("succeeds"))
    execution = claimed(redis, job.id)
    for _ in range(2):
        job_steps.succeed(redis, execution, RESULT, publish=lambda pipeline: pipeline.incr("published"))
    assert redis.get("published") == b"1"


def test_a_queued_job_is_canceled(queue: JobQueue, redis: Redis) -> None:
    job = queue.enqueue(job_spec("succeeds"))
    canceled = queue.cancel(job.id)
    assert (canceled.status, canceled.attempts) == (JobStatus.CANCELED, 0)
    assert canceled.ended_at is not None
    assert queue.get(job.id) == canceled
    assert queue.statistics().queued == 0
    assert claim(redis, job.id) is None
    with pytest.raises(FaceterError) as again:
        queue.cancel(job.id)
    assert again.value.kind is ProblemKind.JOB_ENDED


@pytest.mark.parametrize("id", ["job_none", "", "job:1", "ünïcode", "a b"])
def test_an_unknown_job_is_not_found(queue: JobQueue, id: str) -> None:
    for call in (queue.get, queue.cancel, queue.request_end):
        with pytest.raises(FaceterError) as error:
            call(id)
        assert error.value.kind is ProblemKind.NOT_FOUND


def test_too_many_waiting_jobs_are_refused(redis: Redis, settings: Settings) -> None:
    queue = JobQueue(redis, settings.model_copy(update={"max_queued_jobs": 2}))
    first = queue.enqueue(job_spec("succeeds"))
    queue.enqueue(job_spec("succeeds"))
    with pytest.raises(FaceterError) as full:
        queue.enqueue(job_spec("succeeds"))
    assert full.value.kind is ProblemKind.OVERLOADED
    assert full.value.retry_after
    claimed(redis, first.id)
    queue.enqueue(job_spec("succeeds"))


def listed(queue: JobQueue, limit: int, cursor: str | None = None, **filters: Any) -> Page[Job]:
    return queue.page(limit, cursor, JobFilter(**filters).matches)


def test_jobs_are_listed_newest_first_and_filtered(queue: JobQueue, redis: Redis) -> None:
    jobs = [queue.enqueue(job_spec("succeeds", n)) for n in range(5)]
    job_steps.succeed(redis, claimed(redis, jobs[0].id), RESULT)
    claimed(redis, jobs[1].id)
    newest = [job.id for job in reversed(jobs)]
    first = listed(queue, 2)
    assert [job.id for job in first.items] == newest[:2]
    queue.enqueue(job_spec("succeeds"))
    second = listed(queue, 10, first.next_cursor)
    assert [job.id for job in second.items] == newest[2:]
    assert second.next_cursor is None
    assert [job.id for job in listed(queue, 10, status=JobStatus.SUCCEEDED).items] == [jobs[0].id]
    assert [job.id for job in listed(queue, 10, status=JobStatus.RUNNING).items] == [jobs[1].id]
    assert [job.id for job in listed(queue, 10, model_id="mdl_made").items] == [jobs[0].id]
    assert len(listed(queue, 10, model_id=jobs[0].specification.uses[0], kind=JobKind.QUANTIZATION).items) == 6
    assert listed(queue, 10, kind=JobKind.EXPLANATION).items == []
    with pytest.raises(FaceterError) as bad:
        listed(queue, 10, "never given out")
    assert bad.value.errors[0].field == "cursor"


def test_jobs_that_use_a_resource_are_listed_until_they_end(queue: JobQueue, redis: Redis) -> None:
    job = queue.enqueue(job_spec("succeeds"))
    model = job.specification.uses[0]
    assert queue.jobs_using(model) == [job.id]
    execution = claimed(redis, job.id)
    assert queue.jobs_using(model) == [job.id]
    assert queue.jobs_using("mdl_other") == []
    job_steps.fail(redis, execution, LOST.problem())
    assert queue.jobs_using(model) == []


def test_ended_jobs_expire_and_leave_the_lists(redis: Redis, settings: Settings) -> None:
    queue = JobQueue(redis, settings.model_copy(update={"job_retention_seconds": 1}))
    ended = [queue.enqueue(job_spec("succeeds")) for _ in range(3)]
    job_steps.succeed(redis, claimed(redis, ended[0].id), RESULT)
    job_steps.fail(redis, claimed(redis, ended[1].id), LOST.problem())
    queue.cancel(ended[2].id)
    kept = queue.enqueue(job_spec("succeeds"))
    assert len(listed(queue, 10).items) == 4
    time.sleep(1.1)
    assert [job.id for job in listed(queue, 10).items] == [kept.id]
    queue.reap()
    assert job_records.index(redis).count() == 1
    for job in ended:
        assert redis.keys(f"*{job.id}*") == []


def test_statistics(queue: JobQueue, redis: Redis) -> None:
    empty = queue.statistics()
    assert (empty.queued, empty.running, empty.workers, empty.oldest_queued_seconds, empty.ended) == (0, 0, 0, 0, {})
    jobs = [queue.enqueue(job_spec("succeeds")) for _ in range(3)]
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
