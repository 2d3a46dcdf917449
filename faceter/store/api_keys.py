"""API keys in Redis. A key is `fct_{id}_{secret}`; of the secret, 256 random bits, only the SHA-256 is stored."""

import hashlib
import hmac
import secrets
from datetime import datetime
from typing import Final, cast

from redis import Redis

from faceter.contracts.api_keys import ApiKey, Scope
from faceter.contracts.base import new_id, utc_now
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.store.connection import store_errors

_KEYS: Final = "faceter:keys"
_ID_PREFIX: Final = "key_"
_TOKEN_PREFIX: Final = "fct_"
_SECRET_BYTES: Final = 32
_MOST_ECHOED: Final = 200


class ApiKeys:
    """The API keys of a service.

    Args:
        redis: The store.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    @store_errors()
    def create(
        self,
        name: str,
        tenant: str,
        scopes: list[Scope],
        *,
        expires_at: datetime | None = None,
        requests_per_minute: int | None = None,
        max_body_bytes: int | None = None,
    ) -> tuple[ApiKey, str]:
        """Create a key; see `ApiKey` for the arguments.

        Returns:
            The record, and the key itself, which cannot be read again.
        """
        secret = secrets.token_urlsafe(_SECRET_BYTES)
        key = ApiKey(
            id=new_id(_ID_PREFIX.rstrip("_")),
            name=name,
            tenant=tenant,
            scopes=scopes,
            digest=_digest(secret),
            created_at=utc_now(),
            expires_at=expires_at,
            requests_per_minute=requests_per_minute,
            max_body_bytes=max_body_bytes,
        )
        self._redis.hset(_KEYS, key.id, key.model_dump_json())
        return key, f"{_TOKEN_PREFIX}{key.id.removeprefix(_ID_PREFIX)}_{secret}"

    @store_errors()
    def find(self, token: str) -> ApiKey | None:
        """Return the record of a key that was sent; None if it is none, or has ended."""
        id, _, secret = token.removeprefix(_TOKEN_PREFIX).partition("_")
        if not token.startswith(_TOKEN_PREFIX) or not secret:
            return None
        text = cast(bytes | None, self._redis.hget(_KEYS, f"{_ID_PREFIX}{id}"))
        if text is None:
            return None
        key = ApiKey.model_validate_json(text)
        if not hmac.compare_digest(key.digest, _digest(secret)):
            return None
        return None if key.expires_at is not None and key.expires_at <= utc_now() else key

    @store_errors()
    def all(self) -> list[ApiKey]:
        """Return all keys, oldest first."""
        stored = cast(dict[bytes, bytes], self._redis.hgetall(_KEYS))
        return sorted((ApiKey.model_validate_json(text) for text in stored.values()), key=lambda key: key.created_at)

    @store_errors()
    def delete(self, id: str) -> ApiKey:
        """Delete a key, which servers notice within seconds.

        Raises:
            FaceterError: `NOT_FOUND`.
        """
        text = cast(bytes | None, self._redis.hget(_KEYS, id))
        if text is None:
            raise FaceterError(ProblemKind.NOT_FOUND, f"There is no key {id[:_MOST_ECHOED]!r}.")
        self._redis.hdel(_KEYS, id)
        return ApiKey.model_validate_json(text)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
