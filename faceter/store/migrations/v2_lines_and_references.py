"""To version 2: waiting jobs wait in lines, every file of a record is referenced, used bytes are counted.

In version 1 all waiting jobs were in RQ's one list, which workers no longer read. References are completed because
from version 2 on blobs are looked for that nothing references. The used bytes of tenants are what quotas limit.
"""

import json
from collections.abc import Iterator
from typing import cast

from redis import Redis
from redis.client import Pipeline
from rq.job import JobStatus as RQStatus

from faceter.contracts.errors import FaceterError
from faceter.store import job_queues
from faceter.store.connection import transact
from faceter.store.job_leases import fields, meta_of
from faceter.store.job_records import active_ids, fetch, job_key, specification_of
from faceter.store.record_files import find_records
from faceter.store.record_repair import add_references, count_used_bytes, unreferenced_files
from faceter.store.tenants import DEFAULT_TENANT


def steps(redis: Redis) -> Iterator[None]:
    """Run the migration, step by step."""
    for job_id in sorted(active_ids(redis)):
        _name_queue(redis, job_id)
        yield
    key = job_queues.rq_queue(redis).key
    while (first := cast(bytes | None, redis.lindex(key, 0))) is not None:
        _move_to_line(redis, key, first.decode())
        yield
    for found, files in unreferenced_files(redis, find_records(redis)):
        add_references(redis, found, files)
        yield
    count_used_bytes(redis, DEFAULT_TENANT)


def _name_queue(redis: Redis, job_id: str) -> None:
    """Set the queue of a job that has none."""

    def body(pipeline: Pipeline) -> None:
        (status,) = fields(pipeline, job_id, "status")
        meta = meta_of(pipeline, job_id)
        if status is None or job_queues.QUEUE in meta:
            pipeline.multi()
            return
        queue = specification_of(fetch(redis, job_id)).queue
        pipeline.multi()
        pipeline.hset(job_key(job_id), "meta", json.dumps({**meta, job_queues.QUEUE: queue.value}))

    transact(redis, body, job_key(job_id))


def _move_to_line(redis: Redis, key: str, job_id: str) -> None:
    """Move a job from RQ's list to its line; one that no longer waits is only removed."""
    _name_queue(redis, job_id)

    def body(pipeline: Pipeline) -> None:
        (status,) = fields(pipeline, job_id, "status")
        try:
            job = fetch(redis, job_id) if status == RQStatus.QUEUED else None
        except FaceterError:
            job = None  # it has expired
        pipeline.multi()
        pipeline.lrem(key, 0, job_id)
        if job is not None:
            job_queues.queue_waiting(pipeline, job)

    transact(redis, body, job_key(job_id))
