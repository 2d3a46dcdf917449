"""Leases of jobs: reading a job's fields in a transaction, and checking who holds its lease."""

import json
from typing import Any, Final, cast

from redis import Redis
from redis.client import Pipeline
from rq.executions import Execution

from faceter.contracts.settings import Settings
from faceter.store.job_records import LEASE, job_key

_FARTHEST_SECONDS: Final = 3600.0


class LeaseLostError(Exception):
    """The execution no longer holds the lease: the job was canceled, ended or given to another worker."""


def server_time(connection: Redis | Pipeline) -> float:
    """Return the time of the store's clock, seconds since 1970."""
    seconds, microseconds = connection.time()
    return seconds + microseconds / 1e6


def farthest_expiry(settings: Settings, now: float) -> float:
    """Return the time after which no valid lease expires: one that does is from before the clock went back."""
    return now + max(_FARTHEST_SECONDS, 2.0 * settings.worker_lost_seconds)


def fields(pipeline: Pipeline, job_id: str, *names: str) -> list[str | None]:
    """Return fields of the job's hash; None for missing ones."""
    values = cast(list[bytes | None], pipeline.hmget(job_key(job_id), list(names)))
    return [None if value is None else value.decode() for value in values]


def meta_of(pipeline: Pipeline, job_id: str) -> dict[str, Any]:
    """Return the job's RQ `meta` dictionary."""
    (text,) = fields(pipeline, job_id, "meta")
    return cast(dict[str, Any], json.loads(text)) if text else {}


def check_lease(pipeline: Pipeline, execution: Execution) -> None:
    """Check that this execution holds the job's lease.

    Raises:
        LeaseLostError: If it is not.
    """
    (lease,) = fields(pipeline, execution.job_id, LEASE)
    if lease != execution.id:
        raise LeaseLostError(f"execution {execution.id} no longer holds the lease of job {execution.job_id}")
