"""Shards of a job: parts of its work that several workers compute.

A job divides itself in *rounds*. The shards of a round are RQ jobs of their own, on which the job depends: it is
deferred, without a lease or a worker, until they are done, and then queued to be run again. To users it runs meanwhile.
Shards are claimed, leased and requeued like jobs. What a shard has computed is a blob that the job references until it
ends; then everything of its shards goes in the same transaction. The last step of a shard writes the job's hash, which
the end of the job watches, so that of two concurrent ones one is refused.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, cast

from redis import Redis
from redis.client import Pipeline
from rq import worker_registration
from rq.executions import Execution
from rq.job import Job as RQJob
from rq.job import JobStatus as RQStatus
from rq.registry import DeferredJobRegistry
from rq.serializers import JSONSerializer

from faceter.contracts.job_progress import Progress, ShardCount
from faceter.contracts.settings import Settings
from faceter.store.blob_references import queue_reference, queue_release
from faceter.store.connection import transact
from faceter.store.job_events import queue_event
from faceter.store.job_leases import LeaseLostError, check_lease, fields, meta_of, server_time
from faceter.store.job_queues import NEEDED_BYTES, QUEUE, TENANT, queue_no_longer_waiting, rq_queue
from faceter.store.job_records import DIVIDED, ENDED_BY, LEASE, fetch, job_key
from faceter.store.shard_ids import job_of, shard_id
from faceter.tracing.trace_context import PARENT_HEADER, STATE_HEADER

SHARD: Final = "shard"
"""Key in the RQ `meta` of a shard: its `StoredShard`."""

_LEAST_DONE: Final = 0.02
"""Fraction of a job after which the time left is estimated."""
_ENDED_SECONDS: Final = 60
"""How long the process of a failed shard can tell that it has ended."""


@dataclass(frozen=True)
class PlannedShard:
    """A shard that is to be computed."""

    stage: str
    """Name of the work in its round."""
    start: int
    """First unit."""
    stop: int
    """Unit after the last."""
    cost: float
    """Its work, in any measure."""


@dataclass(frozen=True)
class StoredShard(PlannedShard):
    """A shard of a job."""

    round: str
    """Name of its round."""
    size: float
    """Size of shards by which the job was divided."""
    share: float
    """Its fraction of the work of the round."""
    part: str | None = None
    """SHA-256 of its result; None until it is done."""


@dataclass(frozen=True)
class Round:
    """A round of shards."""

    name: str
    """Its name."""
    step: str
    """What the job is doing, in words."""
    start: float
    """Fraction of the job that is done before it."""
    stop: float
    """Fraction of the job that is done after it."""


def live_workers(redis: Redis) -> int:
    """Return the number of live workers."""
    keys = list(worker_registration.get_keys(queue=rq_queue(redis)))
    return int(redis.exists(*keys)) if keys else 0


def find(redis: Redis, job_id: str) -> dict[str, StoredShard]:
    """Return the shards of all rounds of a job by id, in the order of their rounds and units."""
    stored = cast(dict[bytes, bytes], redis.hgetall(_shards_key(job_id)))
    order = sorted(stored, key=lambda id: [int(number) for number in id.decode().split("-")[1:]])
    return {id.decode(): StoredShard(**json.loads(stored[id])) for id in order}


def of_rq_job(job: RQJob) -> StoredShard | None:
    """Return the shard that an RQ job is; None for a job."""
    values = job.meta.get(SHARD)
    return None if values is None else StoredShard(**values)


def divide(
    redis: Redis, settings: Settings, execution: Execution, round: Round, shards: Sequence[PlannedShard], size: float
) -> None:
    """Queue the shards of a round, and let the job wait for them without its lease.

    Args:
        redis: The store.
        settings: Time limit of shards.
        execution: The execution that holds the lease.
        round: The round.
        shards: All shards of it, in the order of their units.
        size: Size of shards by which the job was divided.

    Raises:
        LeaseLostError: If this execution no longer holds the lease; nothing is queued.
    """
    job_id, queue = execution.job_id, rq_queue(redis)
    total = sum(shard.cost for shard in shards)

    def body(pipeline: Pipeline) -> None:
        check_lease(pipeline, execution)
        job = fetch(redis, job_id)
        earlier = find(redis, job_id)
        now = server_time(pipeline)
        number = 1 + max((int(id.split("-")[1]) for id in earlier), default=0)
        children = []
        for place, shard in enumerate(shards):
            stored = StoredShard(
                **vars(shard), round=round.name, size=size, share=shard.cost / total if total else 1 / len(shards)
            )
            child = queue.create_job(
                str(job.func_name),
                args=job.args,
                job_id=shard_id(job_id, number, place),
                description=f"shard of {job.description}",
                timeout=settings.job_timeout_seconds,
                meta={**_inherited(job), SHARD: vars(stored)},
            )
            child.created_at = job.created_at
            children.append((child, stored))
        pipeline.multi()
        for child, stored in children:
            queue._enqueue_job(child, pipeline=pipeline)
            pipeline.hset(_shards_key(job_id), child.id, json.dumps(vars(stored)))
        pipeline.delete(_fractions_key(job_id))
        job._dependency_ids = [child.id for child, _ in children]
        job.meta[DIVIDED] = {**vars(round), "at": now, "total": len(children), "done": 0}
        job.set_status(RQStatus.DEFERRED, pipeline=pipeline)
        job.register_dependency(pipeline=pipeline)
        pipeline.hset(job.key, ENDED_BY, execution.id)
        pipeline.hdel(job.key, LEASE)
        execution.delete(job, pipeline)
        _queue_progress(pipeline, job_id, job.meta, 0.0, now)

    transact(redis, body, job_key(job_id))


def record_progress(redis: Redis, execution: Execution, fraction: float) -> None:
    """Store which fraction of a shard is done; the progress of its job is the sum over its shards.

    Raises:
        LeaseLostError: If this execution no longer holds the lease of the shard.
    """
    job_id = job_of(execution.job_id)

    def body(pipeline: Pipeline) -> None:
        check_lease(pipeline, execution)
        meta, shard = meta_of(pipeline, job_id), meta_of(pipeline, execution.job_id)[SHARD]
        done = _done(pipeline, job_id, {execution.job_id: fraction * shard["share"]})
        now = server_time(pipeline)
        pipeline.multi()
        pipeline.hset(_fractions_key(job_id), execution.job_id, fraction * shard["share"])
        _queue_progress(pipeline, job_id, meta, done, now)

    transact(redis, body, job_key(job_id), job_key(execution.job_id))


def finish(redis: Redis, execution: Execution, sha256: str) -> None:
    """End a shard with its result; the last one of its round queues the job again.

    Args:
        redis: The store.
        execution: The execution that holds the lease of the shard.
        sha256: Blob of the result, which must be held until then (`Library.store_blob`).

    Raises:
        LeaseLostError: If this execution no longer holds the lease of the shard.
    """
    id, job_id, queue = execution.job_id, job_of(execution.job_id), rq_queue(redis)

    def body(pipeline: Pipeline) -> None:
        status, ended_by = fields(pipeline, id, "status", ENDED_BY)
        if status == RQStatus.FINISHED and ended_by == execution.id:
            pipeline.multi()
            return
        check_lease(pipeline, execution)
        if fields(pipeline, job_id, "status") != [RQStatus.DEFERRED]:
            raise LeaseLostError(f"the job {job_id} does not wait for its shard {id}")
        shard, job = fetch(redis, id), fetch(redis, job_id)
        shard._status = RQStatus.FINISHED
        values = shard.meta[SHARD]
        is_last = job.dependencies_are_met(parent_job=shard, refresh_job_status=False)
        done = _done(pipeline, job_id, {id: values["share"]})
        now = server_time(pipeline)
        pipeline.multi()
        pipeline.hset(shard.key, mapping={"status": RQStatus.FINISHED.value, ENDED_BY: execution.id})
        pipeline.hdel(shard.key, LEASE)
        execution.delete(shard, pipeline)
        pipeline.hset(_shards_key(job_id), id, json.dumps({**values, "part": sha256}))
        pipeline.hset(_fractions_key(job_id), id, values["share"])
        queue_reference(pipeline, sha256, job_id)
        job.meta[DIVIDED]["done"] += 1
        if is_last:
            _registry(redis).remove(job, pipeline=pipeline)
            _queue_no_longer_dependent(pipeline, job, list(job.dependency_ids))
            queue._enqueue_job(job, pipeline=pipeline, at_front=True)
        _queue_progress(pipeline, job_id, job.meta, done, now)

    transact(redis, body, job_key(id), job_key(job_id))


def keep(redis: Redis, execution: Execution, name: str, sha256: str) -> None:
    """Keep a blob under a name until the job ends, for its shards and its later runs.

    Args:
        redis: The store.
        execution: The execution that holds the lease of the job.
        name: The name.
        sha256: The blob, which must be held until then.

    Raises:
        LeaseLostError: If this execution no longer holds the lease.
    """
    job_id = execution.job_id

    def body(pipeline: Pipeline) -> None:
        check_lease(pipeline, execution)
        pipeline.multi()
        pipeline.hset(_kept_key(job_id), name, sha256)
        queue_reference(pipeline, sha256, job_id)

    transact(redis, body, job_key(job_id))


def kept(redis: Redis, job_id: str, name: str) -> str | None:
    """Return the SHA-256 of what a job has kept under a name; None if there is nothing."""
    value = cast(bytes | None, redis.hget(_kept_key(job_id), name))
    return None if value is None else value.decode()


def queue_end(pipeline: Pipeline, job: RQJob) -> None:
    """Queue on ``pipeline``, which watches the job, the end of its shards, and the release of what they computed."""
    redis = job.connection
    shards = find(redis, job.id)
    blobs = {sha256.decode() for sha256 in cast(list[bytes], redis.hvals(_kept_key(job.id)))}
    blobs |= {shard.part for shard in shards.values() if shard.part is not None}
    for sha256 in blobs:
        queue_release(pipeline, sha256, job.id)
    if not shards:
        pipeline.delete(_kept_key(job.id))
        return
    queue = rq_queue(redis)
    for child in RQJob.fetch_many(list(shards), connection=redis, serializer=JSONSerializer):
        if child is None:
            continue
        queue_no_longer_waiting(pipeline, child)
        pipeline.lrem(queue.intermediate_queue_key, 0, child.id)
        lease = cast(bytes | None, redis.hget(child.key, LEASE))
        if lease is not None:
            Execution(lease.decode(), child.id, redis, child.worker_name or "").delete(child, pipeline)
        pipeline.delete(child.key)
    _queue_no_longer_dependent(pipeline, job, list(shards))
    _registry(redis).remove(job, pipeline=pipeline)
    pipeline.delete(_shards_key(job.id), _fractions_key(job.id), _kept_key(job.id))


def queue_failed(pipeline: Pipeline, shard: RQJob, execution: Execution) -> None:
    """Queue the trace of a shard that has failed its job, after the end of the job, for its own process."""
    pipeline.hset(shard.key, mapping={"status": RQStatus.FAILED.value, ENDED_BY: execution.id})
    pipeline.expire(shard.key, _ENDED_SECONDS)
    execution.delete(shard, pipeline)


def _registry(redis: Redis) -> DeferredJobRegistry:
    return DeferredJobRegistry(queue=rq_queue(redis))


def _shards_key(job_id: str) -> str:
    return f"faceter:job:{job_id}:shards"


def _fractions_key(job_id: str) -> str:
    """Return the key of what is done of the current round, by shard: fractions of the work of the round."""
    return f"faceter:job:{job_id}:shards:done"


def _kept_key(job_id: str) -> str:
    return f"faceter:job:{job_id}:kept"


def _inherited(job: RQJob) -> dict[str, Any]:
    """Return what the shards of a job have of its `meta`: queue, tenant, memory and trace."""
    names = (QUEUE, TENANT, NEEDED_BYTES, PARENT_HEADER, STATE_HEADER)
    return {name: job.meta[name] for name in names if name in job.meta}


def _queue_no_longer_dependent(pipeline: Pipeline, job: RQJob, shard_ids: Sequence[str]) -> None:
    pipeline.delete(job.dependencies_key, *(RQJob.dependents_key_for(id) for id in shard_ids))


def _done(pipeline: Pipeline, job_id: str, own: dict[str, float]) -> float:
    """Return which fraction of the round is done, with the values of one shard."""
    stored = cast(dict[bytes, bytes], pipeline.hgetall(_fractions_key(job_id)))
    shares = {id.decode(): float(value) for id, value in stored.items()}
    return min(1.0, sum({**shares, **own}.values()))


def _queue_progress(pipeline: Pipeline, job_id: str, meta: dict[str, Any], done: float, now: float) -> None:
    """Queue the progress of a job of whose round a fraction is done; it never falls."""
    divided, before = meta[DIVIDED], (meta.get("progress") or {}).get("fraction", 0.0)
    fraction = min(1.0, max(before, divided["start"] + done * (divided["stop"] - divided["start"])))
    gained = fraction - divided["start"]
    left = (now - divided["at"]) * (1 - fraction) / gained if gained >= _LEAST_DONE else None
    progress = Progress(
        step=divided["step"],
        fraction=round(fraction, 4),
        eta_seconds=None if left is None else round(left, 1),
        shards=ShardCount(total=divided["total"], done=divided["done"]),
        updated_at=datetime.fromtimestamp(now, UTC),
    )
    meta["progress"] = progress.model_dump(mode="json")
    pipeline.hset(job_key(job_id), "meta", json.dumps(meta))
    queue_event(pipeline, job_id, "progress", progress)
