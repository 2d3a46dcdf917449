"""Checks of jobs: waiting where workers look, running where a worker lives, in the right lists."""

import re
from collections.abc import Iterator
from typing import Final, cast

from redis import Redis
from redis.client import Pipeline
from rq.executions import Execution
from rq.job import Job as RQJob
from rq.job import JobStatus as RQStatus
from rq.utils import parse_composite_key

from faceter.contracts.errors import FaceterError
from faceter.resources import JOB_PREFIX
from faceter.store import job_queues
from faceter.store.connection import transact
from faceter.store.doctor.findings import Finding, Patient, finding
from faceter.store.job_endings import started_key
from faceter.store.job_leases import fields, server_time
from faceter.store.job_reaper import worker_lost
from faceter.store.job_records import ACTIVE_KEY, ACTIVE_STATUSES, LEASE, active_ids, fetch, index, job_key
from faceter.store.job_steps import requeue_or_fail
from faceter.store.shard_ids import is_shard
from faceter.store.tenants import acting_for, all_tenants

_PREFIX: Final = job_key("")
_ID: Final = re.compile(f"{JOB_PREFIX}_[^:]+")


def check_jobs(patient: Patient) -> Iterator[Finding]:
    """Check that active jobs will be run, and that every job is listed."""
    redis = patient.library.redis
    jobs = _jobs(redis)
    yield from _check_leases(patient)
    leaseless = [job.id for job in jobs if _is_leaseless(redis, job.id)]
    yield from finding(
        patient,
        "running-without-lease",
        "Jobs marked as running that no worker has.",
        leaseless,
        "--mend returns them to their queue.",
        lambda id: _requeue(patient, id),
    )
    lost = [job.id for job in jobs if _is_out_of_line(redis, job)]
    yield from finding(
        patient,
        "queued-nowhere",
        "Jobs marked as queued that are in no queue.",
        lost,
        "--mend queues them.",
        lambda id: _queue(redis, id),
    )
    wrong = [
        id
        for id in sorted({job.id for job in jobs if not is_shard(job.id)} | active_ids(redis))
        if _active_differs(redis, id)
    ]
    yield from finding(
        patient,
        "active-jobs",
        f"Jobs that {ACTIVE_KEY} has and should not, or lacks.",
        wrong,
        "--mend corrects it.",
        lambda id: _correct_active(redis, id),
    )
    yield from _check_lists(patient, jobs)


def _jobs(redis: Redis) -> list[RQJob]:
    """Return all jobs and shards."""
    found = []
    keys = {raw.decode() for raw in redis.scan_iter(match=f"{_PREFIX}{JOB_PREFIX}_*", count=1000)}
    for id in (key.removeprefix(_PREFIX) for key in keys):
        if not _ID.fullmatch(id):
            continue  # what depends on a job
        try:
            found.append(fetch(redis, id))
        except FaceterError:
            continue  # expired
    return sorted(found, key=lambda job: job.id)


def _check_leases(patient: Patient) -> Iterator[Finding]:
    redis, settings = patient.library.redis, patient.settings
    started = started_key(job_queues.rq_queue(redis))
    uptime = cast(dict[str, int], redis.info("server"))["uptime_in_seconds"]
    if uptime < settings.worker_lost_seconds and not patient.alone:
        return  # workers could not renew their leases
    now = server_time(redis)

    def mend(entry: str) -> bool:
        job_id, execution_id = parse_composite_key(entry)
        execution = Execution(execution_id, job_id, redis)
        requeue_or_fail(redis, settings, execution, worker_lost(settings), expired_at=now)
        return redis.zscore(started, entry) is None

    yield from finding(
        patient,
        "dead-workers",
        "Jobs marked as running whose worker has not renewed its lease.",
        [entry.decode() for entry in cast(list[bytes], redis.zrangebyscore(started, 0, now))],
        "--mend returns them to their queue, or fails them after too many attempts; a running service does so too.",
        mend,
    )


def _is_leaseless(redis: Redis, job_id: str) -> bool:
    def state() -> tuple[bytes | None, bytes | None]:
        status, lease = cast(list[bytes | None], redis.hmget(job_key(job_id), ["status", LEASE]))
        return status, lease

    status, lease = before = state()
    if status != RQStatus.STARTED.encode():
        return False
    started = started_key(job_queues.rq_queue(redis))
    registered = lease is not None and redis.zscore(started, f"{job_id}:{lease.decode()}") is not None
    return not registered and state() == before


def _requeue(patient: Patient, job_id: str) -> bool:
    """Give a running job without a lease one that has expired, and take the job from it."""
    redis = patient.library.redis

    def body(pipeline: Pipeline) -> str | None:
        status, lease = fields(pipeline, job_id, "status", LEASE)
        pipeline.multi()
        if status != RQStatus.STARTED:
            return None
        lease = lease or "doctor"
        pipeline.hset(job_key(job_id), LEASE, lease)
        pipeline.zadd(started_key(job_queues.rq_queue(redis)), {f"{job_id}:{lease}": 1}, nx=True)
        return lease

    lease = transact(redis, body, job_key(job_id))
    if lease is None:
        return True
    execution = Execution(lease, job_id, redis)
    error = worker_lost(patient.settings)
    return requeue_or_fail(redis, patient.settings, execution, error, expired_at=server_time(redis))


def _is_out_of_line(redis: Redis, job: RQJob) -> bool:
    with redis.pipeline() as pipeline:
        pipeline.hget(job_key(job.id), "status")
        pipeline.zscore(job_queues.line_key(job), job.id)
        pipeline.lpos(job_queues.rq_queue(redis).intermediate_queue_key, job.id)
        status, score, position = pipeline.execute()
    return status == RQStatus.QUEUED.encode() and score is None and position is None


def _queue(redis: Redis, job_id: str) -> bool:
    def body(pipeline: Pipeline) -> bool:
        job = fetch(redis, job_id)
        lost = _is_out_of_line(redis, job)
        pipeline.multi()
        if lost:
            job_queues.queue_waiting(pipeline, job)
        return lost

    return transact(redis, body, job_key(job_id), job_queues.rq_queue(redis).intermediate_queue_key)


def _active_differs(redis: Redis, job_id: str) -> bool:
    with redis.pipeline() as pipeline:
        pipeline.hget(job_key(job_id), "status")
        pipeline.sismember(ACTIVE_KEY, job_id)
        status, is_member = pipeline.execute()
    return (status in ACTIVE_STATUSES) != bool(is_member)


def _correct_active(redis: Redis, job_id: str) -> bool:
    def body(pipeline: Pipeline) -> bool:
        status = pipeline.hget(job_key(job_id), "status")
        pipeline.multi()
        if status in ACTIVE_STATUSES:
            pipeline.sadd(ACTIVE_KEY, job_id)
        else:
            pipeline.srem(ACTIVE_KEY, job_id)
        return True

    return transact(redis, body, job_key(job_id))


def _check_lists(patient: Patient, jobs: list[RQJob]) -> Iterator[Finding]:
    redis = patient.library.redis
    by_id = {job.id: job for job in jobs}

    def list_of(tenant: str) -> str:
        with acting_for(tenant):
            return index(redis).key

    def add(id: str) -> bool:
        job = by_id[id]
        assert job.created_at is not None
        with acting_for(job_queues.tenant_of(job)), redis.pipeline() as pipeline:
            index(redis).add(pipeline, id, job.created_at)
            pipeline.execute()
        return True

    unlisted = [
        id
        for id, job in by_id.items()
        if not is_shard(id)
        and redis.zscore(list_of(job_queues.tenant_of(job)), id) is None
        and redis.exists(job_key(id))
    ]
    yield from finding(
        patient, "unlisted-jobs", "Jobs that lists leave out.", unlisted, "--mend adds them to their list.", add
    )
    gone = {
        raw.decode(): list_of(tenant)
        for tenant in all_tenants(redis)
        for raw in cast(list[bytes], redis.zrange(list_of(tenant), 0, -1))
        if raw.decode() not in by_id and not redis.exists(job_key(raw.decode()))
    }
    yield from finding(
        patient,
        "entries-without-job",
        "Entries of lists whose job has expired.",
        gone,
        "--mend removes them; a running service removes the oldest.",
        lambda id: redis.zrem(gone[id], id),
    )
