"""A job that waits for its shards: one record for users, one transaction for each step, nothing left at its end."""

import asyncio

import pytest
from redis import Redis
from rq.executions import Execution

from app.services.jobs.queue import JobQueue
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.job_progress import ShardCount
from faceter.contracts.jobs import JobStatus, Progress
from faceter.contracts.settings import Settings
from faceter.store import job_checkpoints, job_reaper, job_records, job_shards, job_steps
from faceter.store.job_shards import PlannedShard, Round
from faceter.store.library import Library
from tests.store.jobs.test_events import collect
from tests.store.jobs.worker_side import LOST, RESULT, claimed, progress
from tests.workers.long_tasks import job_spec

ROUND = Round("samples", "running the model", 0.2, 0.6)
SHARDS = [PlannedShard("samples", 0, 2, 30.0), PlannedShard("samples", 2, 3, 10.0)]


@pytest.fixture
def job_id(queue: JobQueue) -> str:
    return queue.enqueue(job_spec("succeeds")).id


def divided(redis: Redis, settings: Settings, job_id: str, round: Round = ROUND) -> list[str]:
    """Claim a job and divide it; return the ids of the shards of that round."""
    job_shards.divide(redis, settings, claimed(redis, job_id), round, SHARDS, 30.0)
    return [id for id, shard in job_shards.find(redis, job_id).items() if shard.round == round.name]


def done(redis: Redis, library: Library, execution: Execution, content: bytes) -> str:
    """Finish a shard with a blob; return its digest."""
    blob = library.store_blob(content)
    try:
        job_shards.finish(redis, execution, blob.sha256)
    finally:
        library.discard_blob(blob.sha256)
    return blob.sha256


def test_a_job_runs_again_when_all_of_its_shards_are_done(
    queue: JobQueue, redis: Redis, settings: Settings, library: Library, job_id: str
) -> None:
    before = queue.get(job_id)
    first, second = divided(redis, settings, job_id)
    waiting = queue.get(job_id)
    assert (waiting.status, waiting.attempts, waiting.created_at) == (JobStatus.RUNNING, 1, before.created_at)
    one, other = claimed(redis, first), claimed(redis, second)
    parts = [done(redis, library, other, b"second"), done(redis, library, one, b"first")]
    assert [library.blobs.exists(part) for part in parts] == [True, True]
    assert queue.get(job_id).status is JobStatus.RUNNING, "it waits for a worker, but it has begun"
    assert queue.statistics().queued == 1
    again = claimed(redis, job_id)
    running = queue.get(job_id)
    assert (running.attempts, running.started_at) == (1, waiting.started_at)
    assert [shard.part for shard in job_shards.find(redis, job_id).values()] == parts[::-1]
    job_steps.succeed(redis, again, RESULT)
    library.delete_released()
    assert not any(library.blobs.exists(part) for part in parts)
    assert left(redis, job_id) == []


def test_a_second_round_comes_after_the_first(redis: Redis, settings: Settings, library: Library, job_id: str) -> None:
    for id in divided(redis, settings, job_id):
        done(redis, library, claimed(redis, id), id.encode())
    later = divided(redis, settings, job_id, Round("firings", "counting", 0.6, 0.8))
    shards = job_shards.find(redis, job_id)
    assert [(shard.round, shard.part is None) for shard in shards.values()] == [
        ("samples", False), ("samples", False), ("firings", True), ("firings", True),
    ]  # fmt: skip
    assert list(shards)[2:] == later


def test_progress_is_the_sum_over_the_shards_and_never_falls(
    queue: JobQueue, redis: Redis, settings: Settings, library: Library, job_id: str
) -> None:
    first, second = divided(redis, settings, job_id)
    one, other = claimed(redis, first), claimed(redis, second)
    job_shards.record_progress(redis, one, 0.5)
    job_shards.record_progress(redis, other, 0.5)
    found = queue.get(job_id).progress
    assert found is not None
    assert found.fraction == pytest.approx(0.2 + 0.4 * 0.5)
    assert (found.step, found.shards) == ("running the model", ShardCount(total=2, done=0))
    job_steps.requeue_or_fail(redis, settings, one, LOST)
    job_shards.record_progress(redis, claimed(redis, first), 0.1)
    done(redis, library, other, b"second")
    found = queue.get(job_id).progress
    assert found is not None
    assert found.fraction == pytest.approx(0.4)
    assert found.shards == ShardCount(total=2, done=1)
    queue.cancel(job_id)
    events = asyncio.run(collect(queue.events(job_id)))
    fractions = [Progress.model_validate(event.data).fraction for event in events if event.event == "progress"]
    assert fractions == sorted(fractions)
    assert len(fractions) == 5


def test_a_dead_worker_costs_its_shard_only(
    queue: JobQueue, redis: Redis, settings: Settings, library: Library, job_id: str
) -> None:
    first, second = divided(redis, settings, job_id)
    one, other = claimed(redis, first), claimed(redis, second)
    part = done(redis, library, other, b"second")
    assert job_steps.requeue_or_fail(redis, settings, one, LOST)
    with pytest.raises(job_steps.LeaseLostError):
        job_shards.finish(redis, one, part)
    again = claimed(redis, first)
    done(redis, library, again, b"first")
    assert queue.get(job_id).attempts == 1
    claimed(redis, job_id)
    job_reaper.reap(redis, settings)
    assert library.blobs.exists(part)


@pytest.mark.parametrize("how", ["fail", "requeue_or_fail"])
def test_the_failure_of_a_shard_is_that_of_its_job(
    queue: JobQueue, redis: Redis, settings: Settings, library: Library, job_id: str, how: str
) -> None:
    settings = settings.model_copy(update={"job_attempts": 1})
    first, second = divided(redis, settings, job_id)
    one, other = claimed(redis, first), claimed(redis, second)
    part = done(redis, library, other, b"second")
    error = FaceterError(ProblemKind.DATASET_MISMATCH, "no such thing")
    if how == "fail":
        job_steps.fail(redis, one, error.problem())
    else:
        job_steps.requeue_or_fail(redis, settings, one, error)
    failed = queue.get(job_id)
    assert failed.status is JobStatus.FAILED
    assert failed.error is not None
    assert (failed.error.detail, failed.attempts) == ("no such thing", 1)
    assert job_steps.has_ended(redis, one), "its process is not taken for one that was canceled"
    library.delete_released()
    assert not library.blobs.exists(part)
    redis.delete(f"rq:job:{first}")
    assert left(redis, job_id) == []


def test_cancel_ends_the_shards(
    queue: JobQueue, redis: Redis, settings: Settings, library: Library, job_id: str
) -> None:
    first, _ = divided(redis, settings, job_id)
    one = claimed(redis, first)
    assert queue.cancel(job_id).status is JobStatus.CANCELED
    for step in (
        lambda: job_shards.record_progress(redis, one, 0.5),
        lambda: done(redis, library, one, b"first"),
        lambda: job_shards.divide(redis, settings, one, ROUND, SHARDS, 30.0),
    ):
        with pytest.raises(job_steps.LeaseLostError):
            step()
    assert not job_steps.renew(redis, one, 60)
    statistics = queue.statistics()
    assert (statistics.queued, statistics.running) == (0, 0)
    library.delete_released()
    assert left(redis, job_id) == []


def test_a_job_keeps_blobs_for_its_shards_and_its_checkpoint_while_it_waits(
    redis: Redis, settings: Settings, library: Library, job_id: str, queue: JobQueue
) -> None:
    execution = claimed(redis, job_id)
    blobs = [library.store_blob(content).sha256 for content in (b"thresholds", b"checkpoint")]
    job_shards.keep(redis, execution, "thresholds", blobs[0])
    job_checkpoints.save(redis, execution, blobs[1])
    for sha256 in blobs:
        library.discard_blob(sha256)
    job_shards.divide(redis, settings, execution, ROUND, SHARDS, 30.0)
    job_reaper.reap(redis, settings)
    library.delete_released()
    assert job_shards.kept(redis, job_id, "thresholds") == blobs[0]
    assert [library.blobs.exists(sha256) for sha256 in blobs] == [True, True]
    assert queue.request_end(job_id).ending, "it is running, so it is asked to end"
    queue.cancel(job_id)
    library.delete_released()
    assert [library.blobs.exists(sha256) for sha256 in blobs] == [False, False]


def test_shards_are_no_jobs_of_the_api(queue: JobQueue, redis: Redis, settings: Settings, job_id: str) -> None:
    first, _ = divided(redis, settings, job_id)
    job_shards.record_progress(redis, claimed(redis, first), 0.5)
    assert [job.id for job in queue.page(10, None, lambda _: True).items] == [job_id]
    assert queue.jobs_using("mdl_0000000000000000test") == [job_id]
    assert job_records.active_ids(redis) == {job_id}
    for refused in (queue.get, queue.cancel):
        with pytest.raises(FaceterError) as error:
            refused(first)
        assert error.value.kind is ProblemKind.NOT_FOUND
    assert redis.keys(f"faceter:job:{first}*") == []


def left(redis: Redis, job_id: str) -> list[str]:
    """Return the keys of shards of a job, and of blobs."""
    of_shards = [f"*{job_id}-*", f"*{job_id}:shards*", f"*{job_id}:kept", f"*{job_id}:dependencies"]
    found = [key for pattern in [*of_shards, "faceter:blob:*"] for key in redis.keys(pattern)]
    assert not redis.zcard("rq:deferred:faceter")
    assert not redis.zcard("rq:wip:faceter")
    return sorted(str(key) for key in found)


def test_progress_of_a_job_that_goes_on(
    queue: JobQueue, redis: Redis, settings: Settings, library: Library, job_id: str
) -> None:
    for id in divided(redis, settings, job_id):
        done(redis, library, claimed(redis, id), id.encode())
    execution = claimed(redis, job_id)
    found = queue.get(job_id).progress
    assert found is not None
    assert found.fraction == pytest.approx(0.6), "what the shards did counts"
    job_steps.record_progress(redis, execution, progress(0.7))
