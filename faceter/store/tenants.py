"""Tenants: whose records and jobs the present request or job sees.

Each tenant has records and lists of its own, under keys of its own, so that what belongs to another is not found. The
tenant is a variable of the execution context: the API sets it for a request, the worker for a job. Blobs are shared.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, cast

from redis import Redis
from redis.client import Pipeline

DEFAULT_TENANT: Final = "default"
"""The tenant of a service without API keys."""

TENANTS_KEY: Final = "faceter:tenants"
"""Set of the other tenants that have, or had, records or jobs."""

TENANT_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
"""Names of tenants: 1 to 63 lower-case letters, digits, `-` and `_`."""

_current: ContextVar[str] = ContextVar("tenant", default=DEFAULT_TENANT)


def current_tenant() -> str:
    """Return the tenant of the present request or job."""
    return _current.get()


@contextmanager
def acting_for(tenant: str) -> Iterator[None]:
    """Act for a tenant during the block."""
    token = _current.set(tenant)
    try:
        yield
    finally:
        _current.reset(token)


def key_prefix(tenant: str | None = None) -> str:
    """Return the prefix of the keys of a tenant, by default of the current one."""
    tenant = tenant or current_tenant()
    return "faceter:" if tenant == DEFAULT_TENANT else f"faceter:tenant:{tenant}:"


def queue_registration(pipeline: Pipeline) -> None:
    """Queue on ``pipeline`` that the current tenant has records or jobs."""
    if current_tenant() != DEFAULT_TENANT:
        pipeline.sadd(TENANTS_KEY, current_tenant())


def all_tenants(redis: Redis) -> list[str]:
    """Return all tenants that have, or had, records or jobs; the default one first."""
    others = cast(set[bytes], redis.smembers(TENANTS_KEY))
    return [DEFAULT_TENANT, *sorted(tenant.decode() for tenant in others)]
