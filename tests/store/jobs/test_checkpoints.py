"""Checkpoints: kept until their job ends, even if workers die, and deleted with its end."""

import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from redis import Redis
from rq.executions import Execution

from app.services.jobs.queue import JobQueue
from faceter.contracts.jobs import JobStatus
from faceter.contracts.settings import Settings
from faceter.store import job_checkpoints, job_records, job_steps
from faceter.store.library import Library
from tests.store.jobs.worker_side import LOST, RESULT, claimed
from tests.workers.long_tasks import job_spec

End = Callable[[JobQueue, Redis, Settings, Execution], object]


def save(library: Library, execution: Execution, content: bytes) -> str:
    """Store a checkpoint as a worker does; return its SHA-256."""
    blob = library.store_blob(content)
    try:
        job_checkpoints.save(library.redis, execution, blob.sha256)
    finally:
        library.discard_blob(blob.sha256)
    library.delete_released()
    return blob.sha256


@pytest.fixture
def execution(queue: JobQueue, redis: Redis) -> Execution:
    """A running job."""
    return claimed(redis, queue.enqueue(job_spec("succeeds")).id)


def days_pass(monkeypatch: pytest.MonkeyPatch, redis: Redis, *blobs: str) -> None:
    """Let every hold expire and make every blob old enough for the sweep."""
    later = time.time() + timedelta(days=3).total_seconds()
    monkeypatch.setattr(time, "time", lambda: later)
    for sha256 in blobs:
        redis.delete(f"faceter:blob:{sha256}:holds")


def test_a_job_without_a_checkpoint(redis: Redis, execution: Execution) -> None:
    assert job_checkpoints.find(redis, execution.job_id) is None
    assert job_checkpoints.find(redis, "job_none") is None


def test_the_newest_checkpoint_replaces_the_previous_one(redis: Redis, library: Library, execution: Execution) -> None:
    first = save(library, execution, b"step 1")
    second = save(library, execution, b"step 2")
    assert job_checkpoints.find(redis, execution.job_id) == second
    assert [library.blobs.exists(sha256) for sha256 in (first, second)] == [False, True]
    assert save(library, execution, b"step 2") == second
    assert library.blobs.read(second) == b"step 2"


def test_a_checkpoint_survives_dead_workers_requeues_and_days_in_the_queue(
    queue: JobQueue,
    redis: Redis,
    settings: Settings,
    library: Library,
    execution: Execution,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sha256 = save(library, execution, b"step 1")
    job_steps.return_to_queue(redis, execution)
    again = claimed(redis, execution.job_id)
    assert job_checkpoints.find(redis, execution.job_id) == sha256
    assert job_steps.requeue_or_fail(redis, settings, again, LOST)
    assert queue.get(execution.job_id).status is JobStatus.QUEUED
    days_pass(monkeypatch, redis, sha256)
    queue.reap()
    assert library.sweep() == 0
    claimed(redis, execution.job_id)
    assert library.sweep() == 0
    assert library.blobs.read(job_checkpoints.find(redis, execution.job_id) or "") == b"step 1"


def _fail_from_outside(queue: JobQueue, redis: Redis, settings: Settings, execution: Execution) -> None:
    redis.hset(job_records.job_key(execution.job_id), "status", "failed")
    queue.reap()


def _vanish(queue: JobQueue, redis: Redis, settings: Settings, execution: Execution) -> None:
    redis.delete(job_records.job_key(execution.job_id))
    queue.reap()


ENDS: dict[str, End] = {
    "success": lambda queue, redis, settings, execution: job_steps.succeed(redis, execution, RESULT),
    "failure": lambda queue, redis, settings, execution: job_steps.fail(redis, execution, LOST.problem()),
    "cancel": lambda queue, redis, settings, execution: queue.cancel(execution.job_id),
    "cancel while no worker is on it": lambda queue, redis, settings, execution: (
        job_steps.return_to_queue(redis, execution),
        queue.cancel(execution.job_id),
    ),
    "the last worker's death": lambda queue, redis, settings, execution: job_steps.requeue_or_fail(
        redis, settings.model_copy(update={"job_attempts": 1}), execution, LOST
    ),
    "a failure from outside": _fail_from_outside,
    "a record that is gone": _vanish,
}


@pytest.mark.parametrize("how", ENDS)
def test_a_checkpoint_is_released_when_its_job_ends(
    queue: JobQueue, redis: Redis, settings: Settings, library: Library, execution: Execution, how: str
) -> None:
    sha256 = save(library, execution, b"step 1")
    ENDS[how](queue, redis, settings, execution)
    assert library.references(sha256) == set()
    assert job_checkpoints.find(redis, execution.job_id) is None
    assert library.delete_released() == 1
    assert not library.blobs.exists(sha256)
    assert redis.keys("faceter:blob*") == []
    assert redis.keys("faceter:jobs:checkpoints") == []


def test_the_reaper_releases_the_checkpoint_of_a_failed_job(reaping: JobQueue, redis: Redis, library: Library) -> None:
    job = reaping.enqueue(job_spec("succeeds"))
    for _ in range(2):
        sha256 = save(library, claimed(redis, job.id, lease=0), b"step 1")
        assert library.delete_released() == 0
        time.sleep(0.01)
        assert reaping.reap() == [job.id]
    assert reaping.get(job.id).status is JobStatus.FAILED
    assert library.references(sha256) == set()


def test_a_model_of_the_same_content_keeps_its_file(
    queue: JobQueue, redis: Redis, library: Library, execution: Execution
) -> None:
    other = claimed(redis, queue.enqueue(job_spec("succeeds")).id)
    sha256 = save(library, execution, b"the same")
    assert save(library, other, b"the same") == sha256
    queue.cancel(execution.job_id)
    assert library.delete_released() == 0
    assert library.references(sha256) == {other.job_id}
    assert library.blobs.read(sha256) == b"the same"


def test_without_the_lease_no_checkpoint_is_saved(
    queue: JobQueue, redis: Redis, library: Library, execution: Execution
) -> None:
    job_steps.return_to_queue(redis, execution)
    sha256 = save(library, claimed(redis, execution.job_id), b"the new worker's")
    with pytest.raises(job_steps.LeaseLostError):
        save(library, execution, b"the old worker's")
    assert job_checkpoints.find(redis, execution.job_id) == sha256
    assert [path.name for path in library.blobs._staging.parent.rglob("*") if path.is_file()] == [sha256]


def test_a_new_job_with_the_same_specification_starts_from_the_beginning(
    queue: JobQueue, redis: Redis, library: Library, execution: Execution
) -> None:
    save(library, execution, b"step 1")
    assert job_checkpoints.find(redis, queue.enqueue(queue.get(execution.job_id).specification).id) is None
