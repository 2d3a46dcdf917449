"""The connection to Redis or Valkey, and the mapping of its failures to problems."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import redis.asyncio
from redis import Redis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialWithJitterBackoff
from redis.client import Pipeline
from redis.connection import DefaultParser
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ReadOnlyError, ResponseError, WatchError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.settings import Settings
from faceter.store.sentinel import SCHEMES, SentinelAddress

Result = TypeVar("Result")


class CannotPersistError(ResponseError):
    """The server responds but refuses writes because it cannot write to its disk (`MISCONF`)."""


class NoReplicasError(ResponseError):
    """The server responds but refuses writes because too few replicas would have them (`min-replicas-to-write`)."""


# redis-py has an exception class for every other server state. Registering ours avoids matching on the message, to
# which a pipeline adds a prefix.
DefaultParser.EXCEPTION_CLASSES["MISCONF"] = CannotPersistError
DefaultParser.EXCEPTION_CLASSES["NOREPLICAS"] = NoReplicasError

UNREACHABLE: Final = (RedisConnectionError, RedisTimeoutError, ReadOnlyError, CannotPersistError, NoReplicasError)
"""Exceptions of redis-py when the server is down, loading, being replaced, not responding, without disk or replicas."""

RETRY_AFTER_SECONDS: Final = 5
"""`Retry-After` of responses when the store is unavailable."""

_SOCKET_SECONDS = 5.0
_CONNECT_SECONDS = 2.0
_HEALTH_CHECK_SECONDS = 15
_QUICK_RETRIES = 3


def _backoff() -> ExponentialWithJitterBackoff:
    return ExponentialWithJitterBackoff(base=0.05, cap=0.5)


def _options(settings: Settings, seconds: float = _SOCKET_SECONDS) -> dict[str, Any]:
    options: dict[str, Any] = {
        "socket_timeout": seconds,
        "socket_connect_timeout": _CONNECT_SECONDS,
        "health_check_interval": _HEALTH_CHECK_SECONDS,
        "decode_responses": False,
    }
    if not settings.resolved_redis_url.startswith("unix:"):
        options["socket_keepalive"] = True
    return options


def connect(settings: Settings, seconds: float = _SOCKET_SECONDS) -> Redis:
    """Return a client of the settings' Redis; nothing is sent until it is used.

    A broken connection is replaced and the command sent again up to three times within about a second, so that
    a restarted server is found again without restarting this process. A server that does not respond raises after
    five seconds, or those given.

    Args:
        settings: Names the server by `resolved_redis_url`, or the Sentinels that know it.
        seconds: How long a reply is waited for.

    Raises:
        ValueError: If the URL is not of a known form.
    """
    retry = Retry(_backoff(), _QUICK_RETRIES, (RedisConnectionError,))
    if urlsplit(settings.resolved_redis_url).scheme in SCHEMES:
        return SentinelAddress.of_url(settings.resolved_redis_url).client(retry=retry, **_options(settings, seconds))
    return Redis.from_url(settings.resolved_redis_url, retry=retry, **_options(settings, seconds))


def connect_async(settings: Settings) -> "redis.asyncio.Redis":
    """Return an asyncio client with the same timeouts and retries as `connect`; bound to the first event loop."""
    retry = AsyncRetry(_backoff(), _QUICK_RETRIES, (RedisConnectionError,))
    if urlsplit(settings.resolved_redis_url).scheme in SCHEMES:
        return SentinelAddress.of_url(settings.resolved_redis_url).async_client(retry=retry, **_options(settings))
    return redis.asyncio.Redis.from_url(settings.resolved_redis_url, retry=retry, **_options(settings))


def retry_forever(client: Redis) -> None:
    """Make the client retry without limit while the server is down, instead of raising.

    For background work, where no request waits for the result.

    Args:
        client: Changed in place.
    """
    client.set_retry(Retry(ExponentialWithJitterBackoff(base=0.1, cap=2.0), -1))


@contextmanager
def store_errors() -> Iterator[None]:
    """Convert failures of the store to `FaceterError`; also usable as a decorator.

    Raises:
        FaceterError: `STORE_UNAVAILABLE` with `retry_after` if the server is down, loading, read-only, without the
            replicas it must have, or does not respond;
            `STORAGE_FULL` if it has no memory or disk space left.
    """
    try:
        yield
    except CannotPersistError as error:
        raise FaceterError(
            ProblemKind.STORAGE_FULL,
            "The store (Redis) cannot write to its disk, which is probably full. Nothing was changed; "
            "the operator of this server must free disk space.",
        ) from error
    except UNREACHABLE as error:
        raise FaceterError(
            ProblemKind.STORE_UNAVAILABLE,
            "The store (Redis) cannot be reached at the moment. Nothing was changed; try again in a few seconds.",
            retry_after=RETRY_AFTER_SECONDS,
        ) from error
    except OutOfMemoryError as error:
        raise FaceterError(
            ProblemKind.STORAGE_FULL, "The store (Redis) has no memory left. Delete what is no longer needed."
        ) from error


def transact(client: Redis, body: Callable[[Pipeline], Result], *keys: str) -> Result:
    """Run an optimistic transaction (WATCH, MULTI, EXEC), repeated whenever a watched key was changed meanwhile.

    Args:
        client: The store.
        body: Reads through the pipeline (commands run immediately), then calls ``pipeline.multi()`` and queues its
            writes, if any. It may run more than once, even after its writes were committed if the connection broke
            before the reply arrived, so it must recognize its own writes.
        *keys: Watched keys, which must not change between reading and writing.

    Returns:
        The result of ``body`` in the run that was committed.
    """
    with client.pipeline() as pipeline:
        while True:
            try:
                pipeline.watch(*keys)  # type: ignore[no-untyped-call]
                result = body(pipeline)
                pipeline.execute()
                return result
            except WatchError:
                continue
            finally:
                pipeline.reset()
