"""Idempotency keys: the same request sent twice is carried out once, and answered twice alike."""

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final, cast

import structlog
from redis import Redis
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from faceter.contracts.base import new_id
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.store.connection import store_errors

HEADER: Final = "Idempotency-Key"
REPLAYED_HEADER: Final = "Idempotency-Replayed"

_LOCK_SECONDS: Final = 30
_KEPT_HEADERS: Final = ("content-type", "location")
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")

_REPLACE_IF_MINE: Final = """
local held = redis.call('GET', KEYS[1])
if held and cjson.decode(held)['token'] == ARGV[1] then
    if ARGV[2] == '' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3]) end
    return 1
end
return 0
"""

_log = structlog.get_logger("app.http.idempotency")


def fingerprint(method: str, path: str, parts: Mapping[str, str | None]) -> str:
    """Return what tells one request from another: where it was sent and what it said.

    Args:
        method: POST.
        path: The path it was sent to.
        parts: Its fields; a file by the SHA-256 of its bytes.
    """
    return hashlib.sha256(json.dumps([method, path, dict(parts)], sort_keys=True).encode()).hexdigest()


class Idempotency:
    """Remembers answers by key in Redis.

    A key is locked while its first request is carried out. The lock runs out by itself half a minute after the
    process that holds it has died. Only successes are remembered: after an error the same key may be used again.

    Args:
        redis: Where they are remembered.
        seconds: For how long.
        lock_seconds: How long the lock of a dead process stands in the way.
    """

    def __init__(self, redis: Redis, *, seconds: int, lock_seconds: int = _LOCK_SECONDS) -> None:
        self._redis = redis
        self._seconds = seconds
        self._lock_seconds = lock_seconds

    async def once(self, key: str | None, request: str, work: Callable[[], Awaitable[Response]]) -> Response:
        """Return the answer of ``work``, or the one given to the same request before.

        Args:
            key: The `Idempotency-Key`; without one the work is simply done.
            request: Its `fingerprint`.
            work: Does it and makes the answer.

        Raises:
            FaceterError: `PRECONDITION_REQUIRED` for a key that is not 1 to 255 visible ASCII characters,
                `IDEMPOTENCY_MISMATCH` if the key was used for another request, `IDEMPOTENCY_IN_PROGRESS` if the first
                request has not been answered yet; and whatever ``work`` raises.
        """
        if key is None:
            return await work()
        if not _KEY.fullmatch(key):
            raise FaceterError(
                ProblemKind.IDEMPOTENCY_KEY_INVALID,
                f"{HEADER} must be 1 to 255 visible ASCII characters without spaces; a UUID is a good choice.",
                field=HEADER,
            )
        name = "faceter:idempotency:" + hashlib.sha256(key.encode()).hexdigest()
        token = new_id("try")
        remembered = await run_in_threadpool(self._claim, name, request, token)
        if remembered is not None:
            return remembered
        renewal = asyncio.create_task(self._renew(name, request, token))
        try:
            response = await work()
        except BaseException:
            await asyncio.shield(run_in_threadpool(self._release, name, token))
            raise
        finally:
            renewal.cancel()
            with suppress(asyncio.CancelledError):
                await renewal
        if response.status_code < 400:
            await run_in_threadpool(self._remember, name, request, token, response)
        else:
            await run_in_threadpool(self._release, name, token)
        return response

    @store_errors()
    def _claim(self, name: str, request: str, token: str) -> Response | None:
        """Lock the key, or return the answer that is remembered for it."""
        held: bytes | None = None
        for _ in range(3):
            if self._redis.set(name, _state(request, token), nx=True, ex=self._lock_seconds):
                return None
            held = cast(bytes | None, self._redis.get(name))
            if held is not None:
                break
        if held is None:
            raise _in_progress()
        state = json.loads(held)
        if state["request"] != request:
            raise FaceterError(
                ProblemKind.IDEMPOTENCY_MISMATCH,
                f"This {HEADER} was used for a request with other content. Use a new key for a new request.",
                field=HEADER,
            )
        if state["answer"] is None:
            raise _in_progress()
        answer = state["answer"]
        return Response(
            base64.b64decode(answer["body"]), answer["status"], {**answer["headers"], REPLAYED_HEADER: "true"}
        )

    def _remember(self, name: str, request: str, token: str, response: Response) -> None:
        """Keep the answer. What was made is made: if Redis fails now the client is still told so."""
        answer = {
            "status": response.status_code,
            "headers": {header: response.headers[header] for header in _KEPT_HEADERS if header in response.headers},
            "body": base64.b64encode(bytes(response.body)).decode(),
        }
        self._replace(name, token, _state(request, token, answer), self._seconds)

    def _release(self, name: str, token: str) -> None:
        """Unlock the key; if that cannot be told to Redis the lock runs out by itself."""
        self._replace(name, token, "", 0)

    def _replace(self, name: str, token: str, state: str, seconds: int) -> None:
        """Put ``state`` in the place of the lock if it is still ours, or remove the lock if it is empty."""
        try:
            with store_errors():
                self._redis.eval(_REPLACE_IF_MINE, 1, name, token, state, str(seconds))
        except FaceterError as error:
            _log.warning("idempotency key not settled", reason=error.detail)

    async def _renew(self, name: str, request: str, token: str) -> None:
        """Keep the lock while the work goes on."""
        while True:
            await asyncio.sleep(self._lock_seconds / 3)
            await run_in_threadpool(self._replace, name, token, _state(request, token), self._lock_seconds)


def _state(request: str, token: str, answer: dict[str, object] | None = None) -> str:
    return json.dumps({"request": request, "token": token, "answer": answer})


def _in_progress() -> FaceterError:
    return FaceterError(
        ProblemKind.IDEMPOTENCY_IN_PROGRESS,
        f"The first request with this {HEADER} has not been answered yet. Try again in a moment.",
        retry_after=1,
    )
