"""The reaper: requeues the jobs of dead workers, and jobs that were taken off the queue but never claimed."""

from contextlib import suppress
from typing import Final, cast

from redis import Redis
from rq import worker_registration
from rq.executions import Execution
from rq.registry import FailedJobRegistry, FinishedJobRegistry
from rq.utils import parse_composite_key

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.settings import Settings
from faceter.store import job_checkpoints
from faceter.store.job_leases import farthest_expiry, server_time
from faceter.store.job_queues import queue_waiting, rq_queue
from faceter.store.job_records import ACTIVE_KEY, fetch, index, job_key
from faceter.store.job_steps import requeue_or_fail
from faceter.store.tenants import acting_for, all_tenants

_WAITING_KEY: Final = "faceter:jobs:in-between"
_OLDEST: Final = 100


def worker_lost(settings: Settings) -> FaceterError:
    """Return the error of a job whose worker did not renew its lease."""
    return FaceterError(
        ProblemKind.WORKER_LOST,
        f"Every worker that ran this job died or did not respond for {settings.worker_lost_seconds} seconds, and the "
        f"limit is {settings.job_attempts} attempts. See the workers' logs, then run it again.",
    )


def reap(redis: Redis, settings: Settings) -> list[str]:
    """Requeue or fail the jobs whose lease expired, and clean up.

    Safe to call from any number of processes at any time. Nothing is reaped while the store has been up for less than
    `worker_lost_seconds`, because workers could not renew their leases while it was down.

    Returns:
        Ids of the jobs of dead workers.
    """
    queue = rq_queue(redis)
    reaped = []
    uptime = cast(dict[str, int], redis.info("server"))["uptime_in_seconds"]
    if uptime >= settings.worker_lost_seconds:
        now = server_time(redis)
        key, farthest = cast(str, queue.started_job_registry.key), farthest_expiry(settings, now)
        expired = cast(list[bytes], redis.zrangebyscore(key, 0, now))
        expired += cast(list[bytes], redis.zrangebyscore(key, f"({farthest}", "+inf"))
        for entry in expired:
            job_id, execution_id = parse_composite_key(entry.decode())
            execution = Execution(execution_id, job_id, redis)
            if requeue_or_fail(redis, settings, execution, worker_lost(settings), expired_at=now):
                reaped.append(job_id)
    _requeue_stuck_jobs(redis, settings)
    _remove_expired_jobs(redis)
    job_checkpoints.release_orphans(redis)
    for registry in (FinishedJobRegistry, FailedJobRegistry):
        registry(queue=queue).cleanup()
    worker_registration.clean_worker_registry(queue)
    return reaped


def _requeue_stuck_jobs(redis: Redis, settings: Settings) -> None:
    """Requeue jobs that a worker took off the queue but died before claiming."""
    queue = rq_queue(redis)
    waiting = {id.decode() for id in cast(list[bytes], redis.lrange(queue.intermediate_queue_key, 0, -1))}
    seen = {id.decode(): float(since) for id, since in cast(dict[bytes, bytes], redis.hgetall(_WAITING_KEY)).items()}
    no_longer_waiting = [id for id in seen if id not in waiting]
    if no_longer_waiting:
        redis.hdel(_WAITING_KEY, *no_longer_waiting)
    now = server_time(redis)
    for id in waiting:
        since = seen.get(id)
        if since is None:
            redis.hset(_WAITING_KEY, id, str(now))
        elif abs(now - since) > settings.worker_lost_seconds / 2:
            with redis.pipeline() as pipeline:
                pipeline.lrem(queue.intermediate_queue_key, 0, id)
                with suppress(FaceterError):  # it is gone
                    queue_waiting(pipeline, fetch(redis, id))
                pipeline.hdel(_WAITING_KEY, id)
                pipeline.execute()


def _remove_expired_jobs(redis: Redis) -> None:
    """Remove jobs whose record has expired from the indexes and from the active set."""
    for tenant in all_tenants(redis):
        with acting_for(tenant):
            key = index(redis).key
        oldest = cast(list[bytes], redis.zrange(key, 0, _OLDEST - 1))
        if expired := _expired(redis, oldest):
            redis.zrem(key, *expired)
    if expired := _expired(redis, list(cast(set[bytes], redis.smembers(ACTIVE_KEY)))):
        redis.srem(ACTIVE_KEY, *expired)


def _expired(redis: Redis, job_ids: list[bytes]) -> list[bytes]:
    if not job_ids:
        return []
    with redis.pipeline(transaction=False) as pipeline:
        for id in job_ids:
            pipeline.hexists(job_key(id.decode()), "data")
        existing = pipeline.execute()
    return [id for id, exists in zip(job_ids, existing, strict=True) if not exists]
