"""What a transaction reads of a job first: its fields, and whether it is still its worker's."""

import json
from typing import Any, cast

from redis import Redis
from redis.client import Pipeline
from rq.executions import Execution

from faceter.store.job_records import LEASE, job_key


class LeaseLostError(Exception):
    """The job is no longer this execution's: it was canceled, ended or given to another worker."""


def server_time(connection: Redis | Pipeline) -> float:
    """Return the store's own time, seconds since 1970."""
    seconds, microseconds = connection.time()
    return seconds + microseconds / 1e6


def fields(pipeline: Pipeline, job_id: str, *names: str) -> list[str | None]:
    """Return fields of the job's hash, None for one that is not there."""
    values = cast(list[bytes | None], pipeline.hmget(job_key(job_id), list(names)))
    return [None if value is None else value.decode() for value in values]


def meta_of(pipeline: Pipeline, job_id: str) -> dict[str, Any]:
    """Return the job's meta data."""
    (text,) = fields(pipeline, job_id, "meta")
    return cast(dict[str, Any], json.loads(text)) if text else {}


def check_lease(pipeline: Pipeline, execution: Execution) -> None:
    """See that the job is this execution's.

    Raises:
        LeaseLostError: If it is not.
    """
    (lease,) = fields(pipeline, execution.job_id, LEASE)
    if lease != execution.id:
        raise LeaseLostError(f"job {execution.job_id} is no longer this execution's")
