"""Limits on the size of request bodies, checked by Content-Length and while the body is read."""

import re
from collections.abc import Sequence
from typing import Final

import anyio
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.middleware.authentication import MOST_BODY_BYTES
from app.http.problems import problem_response
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.settings import Settings

Limit = tuple[str, re.Pattern[str], int]
"""A method, a path pattern, and the maximum size of the body, bytes."""

_FORM_FIELDS_BYTES: Final = 64 * 1024
_LINGER_SECONDS: Final = 2.0
_LINGER_BYTES: Final = 16 * 1024 * 1024


def limits_of(settings: Settings) -> list[Limit]:
    """Return the limits of uploads and predictions; all other bodies are limited by `max_json_bytes`."""
    overhead = settings.max_json_bytes + _FORM_FIELDS_BYTES
    return [
        ("POST", re.compile(r"/v1/models"), settings.max_model_bytes + overhead),
        ("POST", re.compile(r"/v1/datasets"), settings.max_dataset_bytes + overhead),
        ("POST", re.compile(r"/v1/models/[^/]+/predict"), settings.max_predict_bytes),
        ("POST", re.compile(r"/v2/models/[^/]+(?:/versions/[^/]+)?/infer"), settings.max_predict_bytes),
        ("POST", re.compile(r"/v1/translators/[^/]+/translate"), settings.max_predict_bytes),
    ]


class BodyTooLarge(HTTPException):
    """The body exceeded its limit while it was read.

    An `HTTPException`, because FastAPI propagates these from a body it is reading.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(413, _detail(limit), {"Connection": "close"})


class BodyLimit:
    """ASGI middleware that responds with 413 to bodies over their limit.

    A Content-Length over the limit is refused before the body is read; a body of unknown length is counted while it is
    read. In both cases the connection is closed, because the rest of the body is not read.

    Args:
        app: The application.
        limits: Limits by method and path; the first match applies.
        otherwise: The limit of all other requests.
    """

    def __init__(self, app: ASGIApp, limits: Sequence[Limit], otherwise: int) -> None:
        self._app = app
        self._limits = limits
        self._otherwise = otherwise

    def limit(self, method: str, path: str) -> int:
        """Return the maximum body size of a request, bytes."""
        for limited_method, pattern, limit in self._limits:
            if method == limited_method and pattern.fullmatch(path):
                return limit
        return self._otherwise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward the request with its body size checked, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self.limit(scope["method"], scope["path"])
        limit = min(limit, scope.get(MOST_BODY_BYTES, limit))
        headers = Headers(scope=scope)
        content_length = headers.get("content-length", "")
        if content_length.isdecimal() and int(content_length) > limit:
            await _refuse(scope, receive, send, limit, headers.get("expect"))
            return
        received = 0

        async def counting_receive() -> Message:
            nonlocal received
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > limit:
                    raise BodyTooLarge(limit)
            return message

        async def closing_send(message: Message) -> None:
            if received > limit and message["type"] == "http.response.body" and not message.get("more_body", False):
                await send({**message, "more_body": True})
                await _discard_body(receive)
                message = {"type": "http.response.body", "body": b""}
            await send(message)

        await self._app(scope, counting_receive, closing_send)


def _detail(limit: int) -> str:
    return f"The body is larger than the limit of {limit:,} bytes for this address."


async def _refuse(scope: Scope, receive: Receive, send: Send, limit: int, expect: str | None) -> None:
    """Respond with 413 immediately and close.

    A client that sent `Expect: 100-continue` does not send the body then, so there is nothing to discard.
    """
    error = FaceterError(ProblemKind.PAYLOAD_TOO_LARGE, _detail(limit))
    response = problem_response(error.problem(scope["path"]), {"Connection": "close"})
    await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
    await send({"type": "http.response.body", "body": response.body, "more_body": True})
    if expect is None:
        await _discard_body(receive)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _discard_body(receive: Receive) -> None:
    """Read and discard part of what the client is still sending.

    Closing a connection with unread bytes resets it, and the client would lose the response.
    """
    dropped, more = 0, True
    with anyio.move_on_after(_LINGER_SECONDS):
        while more and dropped < _LINGER_BYTES:
            message = await receive()
            more = message["type"] == "http.request" and message.get("more_body", False)
            dropped += len(message.get("body", b""))
