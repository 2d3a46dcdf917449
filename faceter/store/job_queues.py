"""Waiting jobs: a queue for each need, in which tenants take turns.

RQ's one queue holds the registries. The ids of waiting jobs are in *lines*, one for each queue and tenant: sorted sets
by the time of creation. A worker takes the next job of the tenant that was served longest ago, so that a tenant with
thousands of jobs delays another's by one. A job that was returned is the first of its line again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from redis import Redis
from redis.client import Pipeline
from rq import Queue, worker_registration
from rq.job import Job as RQJob
from rq.serializers import JSONSerializer

from faceter.contracts.queue_names import QueueName
from faceter.store.tenants import DEFAULT_TENANT

QUEUE: Final = "queue"
"""Key in the job's RQ `meta`: the queue in which it waits."""

TENANT: Final = "tenant"
"""Key in the job's RQ `meta`: its tenant, if that is not the default one."""

NEEDED_BYTES: Final = "needed_bytes"
"""Key in the job's RQ `meta`: memory that it needs, bytes, if that is known."""

_RQ_NAME: Final = "faceter"
_LINES_KEY: Final = "faceter:jobs:lines"
_LINE_PREFIX: Final = "faceter:jobs:line:"
_TURNS_KEY: Final = "faceter:jobs:turns"
_NEEDS_KEY: Final = "faceter:jobs:needed-bytes"
_POSTPONED_KEY: Final = "faceter:jobs:postponed"
"""Hash of jobs that are not to be taken before a time, in seconds of the store's clock."""
_MOST_BELLS: Final = 64
_SCANNED: Final = 20
"""How many jobs of a line are looked at for one that fits a worker's memory."""
_HEAD_STARTS: Final = {QueueName.QUICK: 600.0, QueueName.CPU: 0.0, QueueName.GPU: 0.0}
"""How much longer than it has a job of a queue counts as waiting, seconds; bounded, so that no job waits for ever."""
_GPU_HEAD_START: Final = 3600.0
"""The same for the queue `gpu` on a worker with a GPU: no other worker takes these jobs meanwhile."""


@dataclass(frozen=True)
class Capabilities:
    """What a worker can run."""

    queues: Sequence[QueueName] = tuple(QueueName)
    """Queues that it takes jobs from."""
    gpu: bool = False
    """Whether it has a GPU."""
    memory_bytes: int = 2**52
    """Memory of its host, bytes."""


class LinedQueue(Queue):
    """RQ's queue, with lines for the waiting jobs instead of its one list."""

    def _enqueue_async_job(
        self, job: RQJob, pipeline: Pipeline | None = None, at_front: bool = False, unique: bool = False
    ) -> RQJob:
        self._prepare_for_queue(job)
        own = self.connection.pipeline() if pipeline is None else pipeline
        self._persist_job(job, own)
        queue_waiting(own, job)
        if pipeline is None:
            own.execute()
        return job


def rq_queue(redis: Redis) -> LinedQueue:
    """Return the RQ queue, with the JSON serializer."""
    return LinedQueue(_RQ_NAME, connection=redis, serializer=JSONSerializer)


def tenant_of(job: RQJob) -> str:
    """Return the tenant of a job."""
    return str(job.meta.get(TENANT, DEFAULT_TENANT))


def queue_of(job: RQJob) -> QueueName:
    """Return the queue of a job."""
    return QueueName(job.meta.get(QUEUE, QueueName.CPU))


def queue_waiting(pipeline: Pipeline, job: RQJob) -> None:
    """Queue on ``pipeline`` that a job waits, and wake a worker."""
    queue, line = queue_of(job), _line(job)
    assert job.created_at is not None
    pipeline.sadd(_LINES_KEY, line)
    pipeline.zadd(_LINE_PREFIX + line, {job.id: job.created_at.timestamp()})
    if needed := job.meta.get(NEEDED_BYTES):
        pipeline.hset(_NEEDS_KEY, job.id, needed)
    pipeline.rpush(_bell(queue), 1)
    pipeline.ltrim(_bell(queue), 0, _MOST_BELLS - 1)


def queue_no_longer_waiting(pipeline: Pipeline, job: RQJob) -> None:
    """Queue on ``pipeline`` that a job no longer waits."""
    pipeline.zrem(_LINE_PREFIX + _line(job), job.id)
    pipeline.hdel(_NEEDS_KEY, job.id)
    pipeline.hdel(_POSTPONED_KEY, job.id)


def queue_postponement(pipeline: Pipeline, job_id: str, until: float) -> None:
    """Queue on ``pipeline`` that a waiting job is not taken before ``until``, in seconds of the store's clock."""
    pipeline.hset(_POSTPONED_KEY, job_id, str(until))


def line_key(job: RQJob) -> str:
    """Return the Redis key of the line in which a job waits, or would."""
    return _LINE_PREFIX + _line(job)


def take(redis: Redis, capabilities: Capabilities) -> str | None:
    """Take a waiting job that a worker can run; its id is in RQ's intermediate queue until it is claimed.

    Args:
        redis: The store.
        capabilities: What the worker can run.

    Returns:
        The id of the job; None if none waits.
    """
    starts = dict(_HEAD_STARTS)
    if capabilities.gpu:
        starts[QueueName.GPU] = _GPU_HEAD_START
    taken: Any = redis.eval(
        _TAKE,
        5,
        _LINES_KEY,
        _TURNS_KEY,
        _NEEDS_KEY,
        rq_queue(redis).intermediate_queue_key,
        _POSTPONED_KEY,
        _LINE_PREFIX,
        str(_SCANNED),
        str(capabilities.memory_bytes),
        *(text for queue in capabilities.queues for text in (queue.value, str(starts[queue]))),
    )
    return None if taken is None else cast(bytes, taken).decode()


def wait(redis: Redis, capabilities: Capabilities, seconds: int) -> None:
    """Wait until a job is queued, or for some seconds at most."""
    redis.blpop([_bell(queue) for queue in capabilities.queues], timeout=seconds)


def waiting(redis: Redis) -> dict[QueueName, tuple[int, float | None]]:
    """Return for each queue how many jobs wait, and when the oldest was created, in seconds since 1970."""
    lines = sorted(line.decode() for line in cast(set[bytes], redis.smembers(_LINES_KEY)))
    with redis.pipeline(transaction=False) as pipeline:
        for line in lines:
            pipeline.zcard(_LINE_PREFIX + line)
            pipeline.zrange(_LINE_PREFIX + line, 0, 0, withscores=True)
        counted = pipeline.execute()
    totals: dict[QueueName, tuple[int, float | None]] = dict.fromkeys(QueueName, (0, None))
    for line, count, first in zip(lines, counted[::2], counted[1::2], strict=True):
        queue = QueueName(line.partition(":")[0])
        total, oldest = totals[queue]
        created = [oldest] * (oldest is not None) + [score for _, score in first]
        totals[queue] = total + count, min(created, default=None)
    return totals


def waiting_of(redis: Redis, tenant: str) -> int:
    """Return how many jobs of a tenant wait."""
    with redis.pipeline(transaction=False) as pipeline:
        for queue in QueueName:
            pipeline.zcard(f"{_LINE_PREFIX}{queue}:{tenant}")
        return sum(pipeline.execute())


def gpu_worker_lives(redis: Redis) -> bool:
    """Return whether a worker with a GPU lives that takes jobs of the queue `gpu`."""
    keys = list(worker_registration.get_keys(queue=rq_queue(redis)))
    with redis.pipeline(transaction=False) as pipeline:
        for key in keys:
            pipeline.hmget(key, "birth", "device", "takes")
        found = pipeline.execute()
    return any(
        birth and (device or b"").startswith(b"cuda") and QueueName.GPU.encode() in (takes or b"").split(b",")
        for birth, device, takes in found
    )


def _line(job: RQJob) -> str:
    return f"{queue_of(job)}:{tenant_of(job)}"


def _bell(queue: QueueName) -> str:
    return f"faceter:jobs:bell:{queue}"


_TAKE: Final = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local starts = {}
for index = 4, #ARGV, 2 do starts[ARGV[index]] = tonumber(ARGV[index + 1]) end
local best
for _, line in ipairs(redis.call('SMEMBERS', KEYS[1])) do
    local queue, tenant = string.match(line, '^([^:]+):(.+)$')
    if starts[queue] then
        local jobs = redis.call('ZRANGE', ARGV[1] .. line, 0, ARGV[2] - 1, 'WITHSCORES')
        if #jobs == 0 then redis.call('SREM', KEYS[1], line) end
        for index = 1, #jobs, 2 do
            local needed = tonumber(redis.call('HGET', KEYS[3], jobs[index]) or '0')
            local postponed = tonumber(redis.call('HGET', KEYS[5], jobs[index]) or '0')
            local waits = postponed > now and postponed < now + 60  -- further ahead: the clock went back since
            if needed <= tonumber(ARGV[3]) and not waits then
                local turn = tonumber(redis.call('ZSCORE', KEYS[2], tenant) or '0')
                local since = tonumber(jobs[index + 1]) - starts[queue]
                if not best or turn < best.turn or (turn == best.turn and since < best.since) then
                    best = {turn = turn, since = since, id = jobs[index], line = line, tenant = tenant}
                end
                break
            end
        end
    end
end
if not best then return false end
redis.call('ZREM', ARGV[1] .. best.line, best.id)
redis.call('HDEL', KEYS[3], best.id)
redis.call('HDEL', KEYS[5], best.id)
redis.call('LPUSH', KEYS[4], best.id)
local last = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')
redis.call('ZADD', KEYS[2], (tonumber(last[2]) or 0) + 1, best.tenant)
return best.id
"""
