"""The connection to Redis or Valkey, and what its failures mean to a user."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

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

Answer = TypeVar("Answer")


class CannotPersistError(ResponseError):
    """The server answers, but takes no writes, since it cannot write to its disk (`MISCONF`)."""


# redis-py has a class for each of the other states a server can be in; with this one it need not be told by words,
# which a pipeline puts others in front of.
DefaultParser.EXCEPTION_CLASSES["MISCONF"] = CannotPersistError

UNREACHABLE: Final = (RedisConnectionError, RedisTimeoutError, ReadOnlyError, CannotPersistError)
"""What redis-py raises when the server is away, still loading, being replaced, silent or without a disk."""

RETRY_AFTER_SECONDS: Final = 5
"""When to come back, as told to a client that found the store away."""

_SOCKET_SECONDS = 5.0
_CONNECT_SECONDS = 2.0
_HEALTH_CHECK_SECONDS = 15
_QUICK_RETRIES = 3


def _backoff() -> ExponentialWithJitterBackoff:
    return ExponentialWithJitterBackoff(base=0.05, cap=0.5)


def _options(settings: Settings) -> dict[str, Any]:
    options: dict[str, Any] = {
        "socket_timeout": _SOCKET_SECONDS,
        "socket_connect_timeout": _CONNECT_SECONDS,
        "health_check_interval": _HEALTH_CHECK_SECONDS,
        "decode_responses": False,
    }
    if not settings.resolved_redis_url.startswith("unix:"):
        options["socket_keepalive"] = True
    return options


def connect(settings: Settings) -> Redis:
    """Return a client of the settings' Redis; nothing is sent until it is used.

    A broken connection is replaced and the command sent again up to three times within about a second, so that
    a restarted server is found again without a restart on our side. A server that is silent is given up on after
    five seconds.

    Args:
        settings: Names the server by `resolved_redis_url`.
    """
    retry = Retry(_backoff(), _QUICK_RETRIES, (RedisConnectionError,))
    return Redis.from_url(settings.resolved_redis_url, retry=retry, **_options(settings))


def connect_async(settings: Settings) -> "redis.asyncio.Redis":
    """Return an asyncio client with the manners of `connect`; it belongs to the event loop that first uses it."""
    retry = AsyncRetry(_backoff(), _QUICK_RETRIES, (RedisConnectionError,))
    return redis.asyncio.Redis.from_url(settings.resolved_redis_url, retry=retry, **_options(settings))


def wait_for_ever(client: Redis) -> None:
    """Let the client wait for an absent server as long as it takes, instead of raising.

    For work that nobody waits for at the other end of a request.

    Args:
        client: Changed in place.
    """
    client.set_retry(Retry(ExponentialWithJitterBackoff(base=0.1, cap=2.0), -1))


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn the store's failures into problems a caller can act on; also usable as a decorator.

    Raises:
        FaceterError: `STORE_UNAVAILABLE` with `retry_after` when the server is away, loading, read-only or silent;
            `STORAGE_FULL` when it has no memory or no disk left.
    """
    try:
        yield
    except CannotPersistError as error:
        raise FaceterError(
            ProblemKind.STORAGE_FULL,
            "The store (Redis) cannot write to its disk, which is probably full. Nothing was changed; "
            "whoever keeps this server must make room.",
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


def transact(client: Redis, body: Callable[[Pipeline], Answer], *keys: str) -> Answer:
    """Read, decide and write as one step, again from the start whenever another writer came between.

    Args:
        client: The store.
        body: Reads through the pipeline it is given (commands answer at once), then calls ``pipeline.multi()`` and
            queues its writes, or queues none. It may run more than once, even after its writes were carried out
            if the connection broke before the answer came, so it must tell its own work when it sees it.
        *keys: What must not have changed between its reading and its writing.

    Returns:
        What ``body`` returned the time it went through.
    """
    with client.pipeline() as pipeline:
        while True:
            try:
                pipeline.watch(*keys)  # type: ignore[no-untyped-call]
                answer = body(pipeline)
                pipeline.execute()
                return answer
            except WatchError:
                continue
            finally:
                pipeline.reset()
