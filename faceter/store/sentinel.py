"""Clients of a Redis that Sentinels watch: they ask the Sentinels which server is the primary."""

from dataclasses import dataclass
from typing import Any, Final, Self, cast
from urllib.parse import parse_qsl, urlencode, urlsplit

import redis.asyncio
from redis import Redis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

SCHEMES: Final = {"redis+sentinel": "redis", "rediss+sentinel": "rediss"}
"""Schemes of addresses of Sentinels, and of the servers that they watch; the second is by TLS."""

_PORT: Final = 26379
_FORM: Final = "redis+sentinel://[user:password@]host:port,host:port,…/service[/db]"
_OWN_OPTIONS: Final = {"sentinel_username": "username", "sentinel_password": "password"}
_ASK_SECONDS: Final = 1.0


@dataclass(frozen=True)
class SentinelAddress:
    """Where the Sentinels are, and what they and the servers are told.

    Both are reached with the same TLS options. User and password of the URL are those of the servers; those of the
    Sentinels are its options `sentinel_username` and `sentinel_password`.
    """

    sentinels: tuple[tuple[str, int], ...]
    """Host and port of each."""
    service: str
    """The name by which they know the primary."""
    options: dict[str, Any]
    """Options of the connections to the servers."""
    sentinel_options: dict[str, Any]
    """Options of the connections to the Sentinels."""

    @classmethod
    def of_url(cls, url: str) -> Self:
        """Return the address that a URL with one of `SCHEMES` names.

        Raises:
            ValueError: If it names no host, no service, or a port or database that is no number.
        """
        parts = urlsplit(url)
        user, _, hosts = parts.netloc.rpartition("@")
        service, _, database = parts.path.strip("/").partition("/")
        query = parse_qsl(parts.query, keep_blank_values=True)
        own = {_OWN_OPTIONS[name]: value for name, value in query if name in _OWN_OPTIONS}
        rest = urlencode([(name, value) for name, value in query if name not in _OWN_OPTIONS])
        try:
            sentinels = tuple(_host_and_port(item) for item in hosts.split(","))
            database = str(int(database or "0"))
        except ValueError as error:
            raise ValueError(f"The address of the Sentinels must be of the form {_FORM}: {error}") from error
        if not service:
            raise ValueError(f"The address of the Sentinels must name the service, as in {_FORM}.")
        authority = f"{user}@server" if user else "server"
        options = dict(parse_url(f"{SCHEMES[parts.scheme]}://{authority}/{database}?{rest}"))  # type: ignore[no-untyped-call]
        for name in ("host", "port"):
            options.pop(name, None)
        if options.pop("connection_class", None) is not None:
            options["ssl"] = True
        tls = {name: value for name, value in options.items() if name.startswith("ssl")}
        return cls(sentinels, service, options, {**tls, **own})

    def client(self, **options: Any) -> Redis:
        """Return a client of the present primary; nothing is sent until it is used."""
        ask = {**self.sentinel_options, **_patience(options), "retry": Retry(NoBackoff(), 0)}
        sentinel = Sentinel(self.sentinels, sentinel_kwargs=ask)  # type: ignore[no-untyped-call]
        client: Redis = sentinel.master_for(  # type: ignore[no-untyped-call]
            self.service, redis_class=_SentinelClient, **{**options, **self.options}
        )
        return client

    def async_client(self, **options: Any) -> "redis.asyncio.Redis":
        """Return an asyncio client of the present primary."""
        ask = {**self.sentinel_options, **_patience(options), "retry": AsyncRetry(NoBackoff(), 0)}
        sentinel = AsyncSentinel(self.sentinels, sentinel_kwargs=ask)  # type: ignore[no-untyped-call]
        client: redis.asyncio.Redis = sentinel.master_for(
            self.service, redis_class=_AsyncSentinelClient, **{**options, **self.options}
        )
        return client


class _SentinelClient(Redis):
    """Closes the connections to the Sentinels with its own."""

    def close(self) -> None:
        super().close()
        for sentinel in cast(SentinelConnectionPool, self.connection_pool).sentinel_manager.sentinels:
            sentinel.close()


class _AsyncSentinelClient(redis.asyncio.Redis):
    """Closes the connections to the Sentinels with its own."""

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await super().aclose(close_connection_pool)
        for sentinel in self.connection_pool.sentinel_manager.sentinels:  # type: ignore[attr-defined]
            await sentinel.aclose()


def _patience(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a question to a Sentinel: a dead host must not hide the others for long."""
    kept = {name: value for name, value in options.items() if name == "socket_keepalive"}
    return {**kept, "socket_timeout": _ASK_SECONDS, "socket_connect_timeout": _ASK_SECONDS}


def _host_and_port(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError(f"{text!r} names no host.")
    return parts.hostname, _PORT if parts.port is None else parts.port
