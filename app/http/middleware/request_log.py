"""What happens around every request: its id, its log line, its metrics, and the last net under it."""

import re
import time
import uuid
from typing import Final, Protocol
from urllib.parse import quote

import anyio
import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.problems import error_response, internal_error

REQUEST_ID_HEADER: Final = "X-Request-ID"

_ACCEPTABLE_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_QUIET_PATHS: Final = frozenset({"/healthz", "/readyz", "/metrics"})

_log = structlog.get_logger("app.http.middleware.request_log")


class Observer(Protocol):
    """Told of every request that was answered."""

    def observe_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one.

        Args:
            method: GET, POST, ….
            route: The template of the route, such as `/v1/models/{model_id}`.
            status: HTTP status of the answer; 499 for a client that went away before it.
            seconds: From the request's first byte to the answer's last.
        """


class RequestLog:
    """ASGI middleware that names, logs and counts requests, and answers 500 to exceptions nobody handled.

    The id comes from the client's `X-Request-ID` if that is short and plain, and is in every log line of the request
    and in the answer.

    Args:
        app: What to watch.
        observer: Where requests are counted.
    """

    def __init__(self, app: ASGIApp, observer: Observer) -> None:
        self._app = app
        self._observer = observer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and tell of it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        given = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
        request_id = given if _ACCEPTABLE_ID.fullmatch(given) else uuid.uuid4().hex
        status = 0

        async def with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = request_id
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, with_id)
            except ClientDisconnect:
                status = 499
            except Exception:
                _log.exception("request failed", method=scope["method"], path=_in_ascii(scope["path"]))
                if status:
                    raise
                await error_response(internal_error(), scope["path"])(scope, receive, with_id)
            finally:
                seconds = time.perf_counter() - started
                self._observer.observe_request(scope["method"], _template(scope), status or 499, seconds)
                say = _log.debug if scope["path"] in _QUIET_PATHS else _log.info
                say(
                    "request",
                    method=scope["method"],
                    path=_in_ascii(scope["path"]),
                    status=status or 499,
                    milliseconds=round(seconds * 1000, 2),
                )


class HeadAsGet:
    """ASGI middleware that answers HEAD as GET is answered, without the body.

    The scope that routes see then has `head` set, for those that can spare themselves the work. An answer that goes
    on, such as a job's events, is ended after its headers.

    Args:
        app: What to ask.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, a HEAD as a GET."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        asked = {**scope, "method": "GET", "head": True}
        ended = anyio.Event()

        async def disconnected_when_ended() -> Message:
            await ended.wait()
            return {"type": "http.disconnect"}

        async def headers_only(message: Message) -> None:
            if ended.is_set():
                return
            await send(
                message if message["type"] == "http.response.start" else {**message, "body": b"", "more_body": False}
            )
            if message["type"] == "http.response.body":
                ended.set()

        try:
            await self._app(asked, disconnected_when_ended, headers_only)
        finally:
            scope["route"] = asked.get("route")


def _in_ascii(path: str) -> str:
    """Return a path as it is written in an address, so that no log line holds control characters."""
    return quote(path, safe="/:@!$&'()*+,;=~")


def _template(scope: Scope) -> str:
    """Return the route's template, so that there is one series a route and not one an id."""
    return getattr(scope.get("route"), "path", None) or "unmatched"
