"""What finds the jobs of dead workers, and the ones that got lost between two hands."""

from typing import Final, cast

from redis import Redis
from rq import worker_registration
from rq.executions import Execution
from rq.registry import FailedJobRegistry, FinishedJobRegistry
from rq.utils import parse_composite_key

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.settings import Settings
from faceter.store import job_checkpoints
from faceter.store.job_leases import server_time
from faceter.store.job_records import ACTIVE_KEY, INDEX_KEY, job_key, rq_queue
from faceter.store.job_steps import lose

_WAITING_KEY: Final = "faceter:jobs:in-between"
_OLDEST: Final = 100


def worker_lost(settings: Settings) -> FaceterError:
    """Return the error of a job whose worker was silent too long."""
    return FaceterError(
        ProblemKind.WORKER_LOST,
        f"Every worker that took up this job died or fell silent for {settings.worker_lost_seconds} seconds, and "
        f"{settings.job_attempts} attempts is all there are. See the workers' logs, then run it again.",
    )


def reap(redis: Redis, settings: Settings) -> list[str]:
    """Queue or fail the jobs whose worker's lease ran out, and tidy up.

    Safe to call from any number of processes at any time. Nothing is reaped while the store itself has been up
    for less than `worker_lost_seconds`: the workers could not renew their leases while it was away.

    Returns:
        Ids of the jobs that were taken from dead workers.
    """
    queue = rq_queue(redis)
    reaped = []
    uptime = cast(dict[str, int], redis.info("server"))["uptime_in_seconds"]
    if uptime >= settings.worker_lost_seconds:
        now = server_time(redis)
        expired = cast(list[bytes], redis.zrangebyscore(cast(str, queue.started_job_registry.key), 0, now))
        for entry in expired:
            job_id, execution_id = parse_composite_key(entry.decode())
            execution = Execution(execution_id, job_id, redis)
            if lose(redis, settings, execution, worker_lost(settings), expired_at=now):
                reaped.append(job_id)
    _requeue_the_stuck(redis, settings)
    _forget_the_expired(redis)
    job_checkpoints.release_orphans(redis)
    for registry in (FinishedJobRegistry, FailedJobRegistry):
        registry(queue=queue).cleanup()
    worker_registration.clean_worker_registry(queue)
    return reaped


def _requeue_the_stuck(redis: Redis, settings: Settings) -> None:
    """Queue again the jobs a worker took off the queue without living to claim them."""
    queue = rq_queue(redis)
    waiting = {id.decode() for id in cast(list[bytes], redis.lrange(queue.intermediate_queue_key, 0, -1))}
    seen = {id.decode(): float(since) for id, since in cast(dict[bytes, bytes], redis.hgetall(_WAITING_KEY)).items()}
    gone = [id for id in seen if id not in waiting]
    if gone:
        redis.hdel(_WAITING_KEY, *gone)
    now = server_time(redis)
    for id in waiting:
        since = seen.get(id)
        if since is None:
            redis.hset(_WAITING_KEY, id, str(now))
        elif now - since > settings.worker_lost_seconds / 2:
            with redis.pipeline() as pipeline:
                pipeline.lrem(queue.intermediate_queue_key, 0, id)
                pipeline.lpush(queue.key, id)
                pipeline.hdel(_WAITING_KEY, id)
                pipeline.execute()


def _forget_the_expired(redis: Redis) -> None:
    """Take jobs whose record is gone out of the index and out of the active set."""
    oldest = cast(list[bytes], redis.zrange(INDEX_KEY, 0, _OLDEST - 1))
    active = cast(set[bytes], redis.smembers(ACTIVE_KEY))
    for key, members in ((INDEX_KEY, oldest), (ACTIVE_KEY, list(active))):
        if not members:
            continue
        with redis.pipeline() as pipeline:
            for member in members:
                pipeline.hexists(job_key(member.decode()), "data")
            there = pipeline.execute()
        for member, exists in zip(members, there, strict=True):
            if exists:
                continue
            if key == INDEX_KEY:
                redis.zrem(key, member)
            else:
                redis.srem(key, member)
