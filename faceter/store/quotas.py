"""Quotas of tenants, and how much of them is used."""

from typing import Final, cast

from redis import Redis
from redis.client import Pipeline

from faceter.contracts.api_keys import Quota
from faceter.contracts.base import StoredRecord
from faceter.store.connection import store_errors
from faceter.store.tenants import current_tenant

_QUOTAS_KEY: Final = "faceter:quotas"
_BYTES_KEY: Final = "faceter:tenant-bytes"
_SUBTRACT: Final = """
if redis.call('HINCRBY', KEYS[1], ARGV[1], -tonumber(ARGV[2])) == 0 then redis.call('HDEL', KEYS[1], ARGV[1]) end
"""


def queue_added(pipeline: Pipeline, record: StoredRecord) -> None:
    """Queue on ``pipeline`` that a record of the current tenant was added."""
    pipeline.hincrby(_BYTES_KEY, current_tenant(), bytes_of(record))


def removed(redis: Redis, record: StoredRecord) -> None:
    """Count that a record of the current tenant was deleted."""
    redis.eval(_SUBTRACT, 1, _BYTES_KEY, current_tenant(), str(bytes_of(record)))


def bytes_of(record: StoredRecord) -> int:
    """Return the size of a record's files, which counts for its tenant also where others share them."""
    return record.bytes + sum(file.bytes for file in record.files.values())


@store_errors()
def used_bytes(redis: Redis, tenant: str) -> int:
    """Return the size of all files of a tenant's records."""
    return max(0, int(redis.hget(_BYTES_KEY, tenant) or 0))


@store_errors()
def set_used_bytes(redis: Redis, tenant: str, used: int) -> None:
    """Replace the size of all files of a tenant's records, as counted anew."""
    redis.hset(_BYTES_KEY, tenant, used)


@store_errors()
def quota_of(redis: Redis, tenant: str) -> Quota:
    """Return the quota of a tenant; without limits if none was set."""
    text = cast(bytes | None, redis.hget(_QUOTAS_KEY, tenant))
    return Quota() if text is None else Quota.model_validate_json(text)


@store_errors()
def set_quota(redis: Redis, tenant: str, quota: Quota) -> None:
    """Set the quota of a tenant, which servers notice within seconds."""
    redis.hset(_QUOTAS_KEY, tenant, quota.model_dump_json())


@store_errors()
def all_quotas(redis: Redis) -> dict[str, Quota]:
    """Return the quotas that were set, by tenant."""
    stored = cast(dict[bytes, bytes], redis.hgetall(_QUOTAS_KEY))
    return {tenant.decode(): Quota.model_validate_json(text) for tenant, text in sorted(stored.items())}
