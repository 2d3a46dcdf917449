"""How large a request body may be: refused by its stated length before it is read, or while it streams in."""

import re
from collections.abc import Sequence
from typing import Final

import anyio
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.problems import problem_response
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.settings import Settings

Limit = tuple[str, re.Pattern[str], int]
"""A method, a pattern of paths, and the most bytes of a body there."""

_FORM_FIELDS_BYTES: Final = 64 * 1024
_LINGER_SECONDS: Final = 2.0
_LINGER_BYTES: Final = 16 * 1024 * 1024


def limits_of(settings: Settings) -> list[Limit]:
    """Return the limits of the service's addresses; any other body may have `max_json_bytes`."""
    around = settings.max_json_bytes + _FORM_FIELDS_BYTES
    return [
        ("POST", re.compile(r"/v1/models"), settings.max_model_bytes + around),
        ("POST", re.compile(r"/v1/datasets"), settings.max_dataset_bytes + around),
        ("POST", re.compile(r"/v1/models/[^/]+/predict"), settings.max_predict_bytes),
        ("POST", re.compile(r"/v1/translators/[^/]+/translate"), settings.max_predict_bytes),
    ]


class BodyTooLarge(HTTPException):
    """The body grew over its limit while it was read.

    An `HTTPException`, since that is what FastAPI lets through from a body it is reading.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(413, _words(limit), {"Connection": "close"})


class BodyLimit:
    """ASGI middleware that answers 413 to bodies over their limit.

    A stated Content-Length over the limit is answered before anything is read; a body of unknown length is counted
    as it comes. Either way the connection is closed afterwards, since the rest of the body is not wanted.

    Args:
        app: What to protect.
        limits: Limits by method and path; the first that fits counts.
        otherwise: The limit of every other request.
    """

    def __init__(self, app: ASGIApp, limits: Sequence[Limit], otherwise: int) -> None:
        self._app = app
        self._limits = limits
        self._otherwise = otherwise

    def limit(self, method: str, path: str) -> int:
        """Return the most bytes a body may have there."""
        for limited_method, pattern, limit in self._limits:
            if method == limited_method and pattern.fullmatch(path):
                return limit
        return self._otherwise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its body counted, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self.limit(scope["method"], scope["path"])
        headers = Headers(scope=scope)
        stated = headers.get("content-length", "")
        if stated.isdecimal() and int(stated) > limit:
            await _refuse(scope, receive, send, limit, headers.get("expect"))
            return
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            if message["type"] == "http.request":
                read += len(message.get("body", b""))
                if read > limit:
                    raise BodyTooLarge(limit)
            return message

        async def lingering(message: Message) -> None:
            if read > limit and message["type"] == "http.response.body" and not message.get("more_body", False):
                await send({**message, "more_body": True})
                await _throw_away(receive)
                message = {"type": "http.response.body", "body": b""}
            await send(message)

        await self._app(scope, counted, lingering)


def _words(limit: int) -> str:
    return f"The body is larger than the {limit:,} bytes this server takes here."


async def _refuse(scope: Scope, receive: Receive, send: Send, limit: int, expect: str | None) -> None:
    """Answer 413 at once and close.

    A client that asked first (`Expect: 100-continue`) sends nothing then, so there is nothing to throw away.
    """
    error = FaceterError(ProblemKind.PAYLOAD_TOO_LARGE, _words(limit))
    response = problem_response(error.problem(scope["path"]), {"Connection": "close"})
    await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
    await send({"type": "http.response.body", "body": response.body, "more_body": True})
    if expect is None:
        await _throw_away(receive)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _throw_away(receive: Receive) -> None:
    """Read and drop a little of what the client is still sending.

    A connection closed over unread bytes is reset, and the client would lose the answer it has not read yet.
    """
    dropped, more = 0, True
    with anyio.move_on_after(_LINGER_SECONDS):
        while more and dropped < _LINGER_BYTES:
            message = await receive()
            more = message["type"] == "http.request" and message.get("more_body", False)
            dropped += len(message.get("body", b""))
