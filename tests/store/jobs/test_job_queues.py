"""Waiting jobs: queues by need, turns of tenants, memory of workers."""

import time

from redis import Redis

from app.services.creation import creating
from app.services.jobs.queue import JobQueue
from faceter.contracts.jobs import AnalysisJob, EvaluationJob, JobSpecification, QuantizationJob
from faceter.contracts.queue_names import QueueName
from faceter.contracts.settings import Settings
from faceter.store import job_queues, job_steps
from faceter.store.job_queues import Capabilities, take
from faceter.store.tenants import acting_for
from tests.store.jobs.worker_side import LOST, claimed
from tests.workers.long_tasks import job_spec
from tests.workers.processes import eventually

_CPU, _QUICK, _GPU = QueueName.CPU, QueueName.QUICK, QueueName.GPU


def quantization(method: str) -> JobSpecification:
    return QuantizationJob.model_validate({"model_id": "mdl_a", "request": {"method": method}})


def test_jobs_wait_in_the_queue_of_their_need() -> None:
    evaluation = EvaluationJob.model_validate({"request": {"reference_id": "dts_a", "generated_id": "dts_b"}})
    assert [quantization("rq").queue, quantization("auto").queue, evaluation.queue] == [_QUICK, _GPU, _GPU]
    assert AnalysisJob.queue.fget is not EvaluationJob.queue.fget  # type: ignore[attr-defined]


def test_a_worker_takes_only_from_its_queues(queue: JobQueue, redis: Redis) -> None:
    quick, tuned = queue.enqueue(quantization("rq")), queue.enqueue(quantization("zeroq"))
    assert take(redis, Capabilities(queues=[_CPU])) is None
    assert take(redis, Capabilities(queues=[_GPU])) == tuned.id
    assert take(redis, Capabilities(queues=[_QUICK, _CPU])) == quick.id
    assert take(redis, Capabilities()) is None


def test_quick_jobs_are_first_but_not_on_a_worker_with_a_gpu(queue: JobQueue, redis: Redis) -> None:
    tuned, quick = queue.enqueue(quantization("zeroq")), queue.enqueue(quantization("rq"))
    assert take(redis, Capabilities()) == quick.id
    quick = queue.enqueue(quantization("rq"))
    assert take(redis, Capabilities(gpu=True)) == tuned.id
    assert take(redis, Capabilities(gpu=True)) == quick.id


def test_jobs_of_a_queue_are_first_in_first_out(queue: JobQueue, redis: Redis) -> None:
    ids = [queue.enqueue(job_spec("succeeds")).id for _ in range(5)]
    assert [take(redis, Capabilities()) for _ in ids] == ids


def test_tenants_take_turns(queue: JobQueue, redis: Redis) -> None:
    many = [queue.enqueue(job_spec("succeeds")).id for _ in range(4)]
    with acting_for("acme"):
        few = [queue.enqueue(job_spec("succeeds")).id for _ in range(2)]
    taken = [take(redis, Capabilities()) for _ in range(6)]
    assert taken[:4] == [many[0], few[0], many[1], few[1]] or taken[:4] == [few[0], many[0], few[1], many[1]]
    assert taken[4:] == many[2:]


def test_a_job_that_needs_more_memory_is_left_to_a_larger_worker(queue: JobQueue, redis: Redis) -> None:
    large, small = queue.enqueue(job_spec("succeeds"), 2**33), queue.enqueue(job_spec("succeeds"), 2**20)
    assert take(redis, Capabilities(memory_bytes=2**32)) == small.id
    assert take(redis, Capabilities(memory_bytes=2**32)) is None
    assert take(redis, Capabilities(memory_bytes=2**34)) == large.id


def test_a_returned_job_is_first_again(queue: JobQueue, redis: Redis) -> None:
    first, second = queue.enqueue(job_spec("succeeds")), queue.enqueue(job_spec("succeeds"))
    assert job_steps.return_to_queue(redis, claimed(redis, first.id))
    assert [take(redis, Capabilities()) for _ in range(2)] == [first.id, second.id]


def test_a_canceled_job_no_longer_waits(queue: JobQueue, redis: Redis) -> None:
    job = queue.enqueue(job_spec("succeeds"), 2**20)
    queue.cancel(job.id)
    assert queue.statistics().queued == 0
    assert take(redis, Capabilities()) is None
    assert not [key for key in redis.scan_iter() if b"needed" in key]


def test_a_waiting_worker_is_woken(queue: JobQueue, redis: Redis) -> None:
    job_queues.wait(redis, Capabilities(), 1)
    queue.enqueue(quantization("rq"))
    assert redis.llen("faceter:jobs:bell:quick") == 1
    job_queues.wait(redis, Capabilities(), 600)  # returns at once
    assert redis.llen("faceter:jobs:bell:quick") == 0


def test_a_job_whose_attempt_was_lost_is_not_taken_again_at_once(
    queue: JobQueue, redis: Redis, settings: Settings
) -> None:
    job, next_job = queue.enqueue(job_spec("succeeds")), queue.enqueue(job_spec("succeeds"))
    assert job_steps.requeue_or_fail(redis, settings, claimed(redis, job.id), LOST)
    assert queue.statistics().queued == 2
    assert take(redis, Capabilities()) == next_job.id
    assert take(redis, Capabilities()) is None
    assert eventually(lambda: take(redis, Capabilities())) == job.id


def test_a_job_is_not_postponed_for_long_by_a_clock_that_went_back(
    queue: JobQueue, redis: Redis, settings: Settings
) -> None:
    job = queue.enqueue(job_spec("succeeds"))
    assert job_steps.requeue_or_fail(redis, settings, claimed(redis, job.id), LOST)
    redis.hset("faceter:jobs:postponed", job.id, str(time.time() + 3600))
    assert take(redis, Capabilities()) == job.id


def test_a_canceled_job_leaves_no_postponement(queue: JobQueue, redis: Redis, settings: Settings) -> None:
    job = queue.enqueue(job_spec("succeeds"))
    assert job_steps.requeue_or_fail(redis, settings, claimed(redis, job.id), LOST)
    queue.cancel(job.id)
    assert not redis.exists("faceter:jobs:postponed")


def test_a_job_queued_again_by_its_id_is_the_same_job(queue: JobQueue, redis: Redis) -> None:
    with creating("a request"):
        first, second = queue.enqueue(job_spec("succeeds")), queue.enqueue(job_spec("succeeds"))
    assert first == second
    assert take(redis, Capabilities()) == first.id
    assert take(redis, Capabilities()) is None
    assert len(queue.page(10, None, lambda _: True).items) == 1
