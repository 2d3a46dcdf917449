"""Who may do what: API keys, their scopes and rates, and the quotas of tenants."""

import math
import time
from threading import Lock
from typing import Final

import structlog
from anyio import to_thread
from cachetools import TTLCache
from limits import RateLimitItemPerMinute
from limits.storage import RedisStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from redis import Redis

from faceter.contracts.api_keys import ApiKey, AuditEntry, Quota, Scope
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.settings import Settings
from faceter.store import audit_log, quotas
from faceter.store.api_keys import ApiKeys
from faceter.store.connection import store_errors

_FRESH_SECONDS: Final = 5.0
"""How long a key or quota is used without reading it again."""
_MOST_CACHED: Final = 10_000

_log = structlog.get_logger("app.access")
_audit = structlog.get_logger("audit")


def bearer_token(authorization: str) -> str | None:
    """Return the key in the value of an `Authorization` header, or of such metadata; None if there is none."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


class Access:
    """Checks API keys. Methods that are no coroutines block, and must be called in a thread.

    Args:
        redis: The store.
        settings: Whether keys are required.
    """

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis = redis
        self._keys = ApiKeys(redis)
        self.required = settings.keys_required
        self._found: TTLCache[str, ApiKey | None] = TTLCache(_MOST_CACHED, _FRESH_SECONDS)
        self._quotas: TTLCache[str, Quota] = TTLCache(_MOST_CACHED, _FRESH_SECONDS)
        self._lock = Lock()
        self._limiter: SlidingWindowCounterRateLimiter | None = None

    async def identify(self, token: str | None) -> ApiKey:
        """Return the record of the key of a request; see `key`. A key of the last seconds takes no thread."""
        known = self._known(token) if token else None
        return known if known is not None else await to_thread.run_sync(self.key, token)

    async def permit(self, key: ApiKey, scope: Scope) -> None:
        """Check that a key allows a request, and count it; see `check`. A key without a rate takes no thread."""
        if key.requests_per_minute is None:
            self.check(key, scope)
        else:
            await to_thread.run_sync(self.check, key, scope)

    def _known(self, token: str) -> ApiKey | None:
        """Return the record of a key that was checked within the last seconds, without reading Redis."""
        with self._lock:
            return self._found.get(token)

    def key(self, token: str | None) -> ApiKey:
        """Return the record of the key of a request.

        Raises:
            FaceterError: `UNAUTHENTICATED` if there is none, or it is not valid; `STORE_UNAVAILABLE`.
        """
        if not token:
            raise FaceterError(
                ProblemKind.UNAUTHENTICATED,
                "This service needs an API key. Send `Authorization: Bearer KEY`; the operator creates keys with "
                "`faceter keys create`.",
            )
        key = self._known(token)
        if key is None:
            key = self._keys.find(token)
            if key is None:
                raise FaceterError(
                    ProblemKind.UNAUTHENTICATED,
                    "The API key is not valid: it is misspelled, deleted or has ended. Ask the operator for a new one.",
                )
            with self._lock:
                self._found[token] = key
        return key

    def check(self, key: ApiKey, scope: Scope) -> None:
        """Check that a key allows a request, and count it.

        Raises:
            FaceterError: `FORBIDDEN` without the scope; `RATE_LIMITED`, with `retry_after`; `STORE_UNAVAILABLE`.
        """
        if not key.allows(scope):
            raise FaceterError(
                ProblemKind.FORBIDDEN,
                f"The API key {key.name!r} has the scopes {', '.join(key.scopes)}, and this needs {scope}. Use another "
                "key, or ask the operator for one.",
            )
        if key.requests_per_minute is not None:
            self._count(key, key.requests_per_minute)

    def check_room(self, tenant: str, body_bytes: int) -> None:
        """Check that a tenant may store more.

        Args:
            tenant: The tenant.
            body_bytes: Size of the request's body; 0 if that is not known.

        Raises:
            FaceterError: `QUOTA_EXCEEDED`; `STORE_UNAVAILABLE`.
        """
        limit = self.quota(tenant).max_bytes
        if limit is None:
            return
        used = quotas.used_bytes(self._redis, tenant)
        if used + body_bytes > limit or used >= limit:
            raise FaceterError(
                ProblemKind.QUOTA_EXCEEDED,
                f"Your files take {used:,} of {limit:,} bytes, and this request would exceed that. Delete what is no "
                "longer needed, or ask the operator for more.",
            )

    def quota(self, tenant: str) -> Quota:
        """Return the quota of a tenant."""
        with self._lock:
            quota = self._quotas.get(tenant)
        if quota is None:
            quota = quotas.quota_of(self._redis, tenant)
            with self._lock:
                self._quotas[tenant] = quota
        return quota

    def record(self, entry: AuditEntry) -> None:
        """Write an entry to the audit log, and to the log; a failure of Redis is only logged."""
        _audit.info("audit", **entry.model_dump(mode="json"))
        try:
            audit_log.append(self._redis, entry)
        except FaceterError as error:
            _log.warning("audit entry not stored", reason=error.detail)

    @store_errors()
    def _count(self, key: ApiKey, per_minute: int) -> None:
        if self._limiter is None:
            storage = RedisStorage("redis://", connection_pool=self._redis.connection_pool, key_prefix="faceter:rates")
            self._limiter = SlidingWindowCounterRateLimiter(storage)
        item = RateLimitItemPerMinute(per_minute)
        if not self._limiter.hit(item, key.id):
            reset = self._limiter.get_window_stats(item, key.id).reset_time
            raise FaceterError(
                ProblemKind.RATE_LIMITED,
                f"The API key {key.name!r} may send {per_minute:,} requests a minute. Try again later.",
                retry_after=max(1, _seconds_until(reset)),
            )


def _seconds_until(moment: float) -> int:
    return min(60, math.ceil(moment - time.time()))
