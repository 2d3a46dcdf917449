"""Idempotency keys: a repeated request is executed once, and gets the same response."""

import asyncio
import base64
import hashlib
import json
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Annotated, Final, cast

import structlog
from fastapi import Depends, Header, Request
from pydantic import BaseModel
from redis import Redis
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from app.http.dependencies import core_of
from app.http.responses import accepted
from app.services.creation import creating
from faceter.contracts.base import new_id
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.jobs import Job
from faceter.store.connection import store_errors
from faceter.store.tenants import key_prefix

HEADER: Final = "Idempotency-Key"
REPLAYED_HEADER: Final = "Idempotency-Replayed"

_LOCK_SECONDS: Final = 6
_STORED_HEADERS: Final = ("content-type", "location")
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")

_REPLACE_IF_OWNED: Final = """
local held = redis.call('GET', KEYS[1])
if held and cjson.decode(held)['token'] == ARGV[1] then
    if ARGV[2] == '' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3]) end
    return 1
end
return 0
"""

_log = structlog.get_logger("app.http.idempotency")


def fingerprint(method: str, path: str, parts: Mapping[str, str | None]) -> str:
    """Return a digest that identifies a request by address and content.

    Args:
        method: HTTP method.
        path: Path of the request.
        parts: Its fields; files by their SHA-256.
    """
    return hashlib.sha256(json.dumps([method, path, dict(parts)], sort_keys=True).encode()).hexdigest()


class Idempotency:
    """Stores responses by idempotency key in Redis.

    A key is locked while its first request is executed. The lock expires seconds after the process that holds it has
    died, and the next attempt executes the request again. What it creates has the same id as in the first attempt, so
    that what that may have created already is found instead of created twice. Only successes are stored: after an error
    the same key can be used again.

    Args:
        redis: The store.
        seconds: Retention of responses.
        lock_seconds: Time until the lock of a dead process expires.
    """

    def __init__(self, redis: Redis, *, seconds: int, lock_seconds: int = _LOCK_SECONDS) -> None:
        self._redis = redis
        self._seconds = seconds
        self._lock_seconds = lock_seconds

    async def once(self, key: str | None, request: str, handler: Callable[[], Awaitable[Response]]) -> Response:
        """Return the response of ``handler``, or the stored one of the same request.

        Args:
            key: The `Idempotency-Key`; without one the handler is always called.
            request: `fingerprint` of the request.
            handler: Executes the request and returns its response.

        Raises:
            FaceterError: `IDEMPOTENCY_KEY_INVALID` for a key that is not 1 to 255 visible ASCII characters,
                `IDEMPOTENCY_MISMATCH` if the key was used for another request, `IDEMPOTENCY_IN_PROGRESS` if the first
                request has not been answered yet; and the errors of ``handler``.
        """
        if key is None:
            return await handler()
        if not _KEY.fullmatch(key):
            raise FaceterError(
                ProblemKind.IDEMPOTENCY_KEY_INVALID,
                f"{HEADER} must be 1 to 255 visible ASCII characters without spaces; a UUID is a good choice.",
                field=HEADER,
            )
        name = f"{key_prefix()}idempotency:" + hashlib.sha256(key.encode()).hexdigest()
        token = new_id("try")
        claimed = await run_in_threadpool(self._claim, name, request, token)
        if isinstance(claimed, Response):
            return claimed
        renewal = asyncio.create_task(self._renew(name, request, token))
        try:
            with creating(claimed):
                response = await handler()
        except BaseException:
            await asyncio.shield(run_in_threadpool(self._release, name, token))
            raise
        finally:
            renewal.cancel()
            with suppress(asyncio.CancelledError):
                await renewal
        if response.status_code < 400:
            await run_in_threadpool(self._store, name, request, token, response)
        else:
            await run_in_threadpool(self._release, name, token)
        return response

    @store_errors()
    def _claim(self, name: str, request: str, token: str) -> Response | str:
        """Lock the key and return the seed of the ids of what the request creates, or return the stored response."""
        held: bytes | None = None
        for _ in range(3):
            if self._redis.set(name, _state(request, token), nx=True, ex=self._lock_seconds):
                return self._seed(name, request)
            held = cast(bytes | None, self._redis.get(name))
            if held is not None:
                break
        if held is None:
            raise _in_progress()
        state = json.loads(held)
        if state["request"] != request:
            raise FaceterError(
                ProblemKind.IDEMPOTENCY_MISMATCH,
                f"This {HEADER} was used for a different request. Use a new key for a new request.",
                field=HEADER,
            )
        if state["answer"] is None:
            raise _in_progress()
        answer = state["answer"]
        return Response(
            base64.b64decode(answer["body"]), answer["status"], {**answer["headers"], REPLAYED_HEADER: "true"}
        )

    def _seed(self, name: str, request: str) -> str:
        """Return a seed that is random, and the same for this request as long as responses are kept."""
        with self._redis.pipeline() as pipeline:
            pipeline.set(f"{name}:seed", secrets.token_hex(16), nx=True, ex=self._seconds)
            pipeline.get(f"{name}:seed")
            seed = pipeline.execute()[1]
        return f"{seed.decode()} {request}"

    def _store(self, name: str, request: str, token: str, response: Response) -> None:
        """Store the response; failures of Redis are only logged, because the request was already executed."""
        answer = {
            "status": response.status_code,
            "headers": {header: response.headers[header] for header in _STORED_HEADERS if header in response.headers},
            "body": base64.b64encode(bytes(response.body)).decode(),
        }
        self._replace(name, token, _state(request, token, answer), self._seconds)

    def _release(self, name: str, token: str) -> None:
        """Unlock the key; if Redis fails, the lock expires."""
        self._replace(name, token, "", 0)

    def _replace(self, name: str, token: str, state: str, seconds: int) -> None:
        """Replace the lock by ``state`` if this process still holds it; an empty state deletes the lock."""
        try:
            with store_errors():
                self._redis.eval(_REPLACE_IF_OWNED, 1, name, token, state, str(seconds))
        except FaceterError as error:
            _log.warning("idempotency key not updated", reason=error.detail)

    async def _renew(self, name: str, request: str, token: str) -> None:
        """Renew the lock until canceled."""
        while True:
            await asyncio.sleep(self._lock_seconds / 3)
            await run_in_threadpool(self._replace, name, token, _state(request, token), self._lock_seconds)


class OnceOnly:
    """Dependency of every POST route that creates resources: executes each `Idempotency-Key` once.

    Args:
        request: The request.
        idempotency_key: Its header.
    """

    def __init__(
        self,
        request: Request,
        idempotency_key: Annotated[
            str | None,
            Header(
                alias=HEADER,
                description="Any unique text, such as a UUID. If the same request is sent again, the server returns "
                "the first response (with `Idempotency-Replayed: true`) and does not execute the request twice.",
                examples=["0b1e7d9c-4f0a-4b8e-9a53-2f6d1f0c7c11"],
            ),
        ] = None,
    ) -> None:
        self._path = request.url.path
        self._key = idempotency_key
        self._core = core_of(request)

    async def __call__(
        self, parts: BaseModel | Mapping[str, str | None], handler: Callable[[], Awaitable[Response]]
    ) -> Response:
        """Return the response of ``handler``, or the stored one of the same request; see `Idempotency.once`.

        Args:
            parts: Content of the request: its body, or the fields of its form with files by their SHA-256.
            handler: Executes the request and returns its response.
        """
        fields = {"body": parts.model_dump_json()} if isinstance(parts, BaseModel) else parts
        settings = self._core.settings
        idempotency = Idempotency(self._core.library.redis, seconds=settings.idempotency_seconds)
        return await idempotency.once(self._key, fingerprint("POST", self._path, fields), handler)

    async def submit(self, parts: BaseModel | Mapping[str, str | None], submit: Callable[[], Job]) -> Response:
        """Return the 202 response for a job, or the stored one of the same request.

        Args:
            parts: See `__call__`.
            submit: Validates the request, which may load a whole model, and queues the job.
        """

        async def handler() -> Response:
            return accepted(await self._core.with_model(submit))

        return await self(parts, handler)


Once = Annotated[OnceOnly, Depends()]
"""Annotation of the dependency in routes."""


def _state(request: str, token: str, answer: dict[str, object] | None = None) -> str:
    return json.dumps({"request": request, "token": token, "answer": answer})


def _in_progress() -> FaceterError:
    return FaceterError(
        ProblemKind.IDEMPOTENCY_IN_PROGRESS,
        f"The first request with this {HEADER} has not been answered yet. Try again in a moment.",
        retry_after=1,
    )
