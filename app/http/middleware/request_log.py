"""Request ids, request logs and metrics; unhandled exceptions become status 500."""

import re
import time
import uuid
from typing import Final, Protocol
from urllib.parse import quote

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
    """Is notified of every handled request."""

    def observe_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Record a request.

        Args:
            method: GET, POST, ….
            route: The template of the route, such as `/v1/models/{model_id}`.
            status: HTTP status of the response; 499 if the client disconnected before it.
            seconds: Time from the first byte of the request to the last byte of the response.
        """


class RequestLog:
    """ASGI middleware that assigns request ids, logs and counts requests, and maps unhandled exceptions to 500.

    The id is the client's `X-Request-ID` if that matches `[A-Za-z0-9._-]{1,128}`, and is in every log line of the
    request and in the response.

    Args:
        app: The application.
        observer: Records the requests.
    """

    def __init__(self, app: ASGIApp, observer: Observer) -> None:
        self._app = app
        self._observer = observer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward the request and record it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        client_id = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
        request_id = client_id if _ACCEPTABLE_ID.fullmatch(client_id) else uuid.uuid4().hex
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = request_id
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, send_with_id)
            except ClientDisconnect:
                status = 499
            except Exception:
                _log.exception("request failed", method=scope["method"], path=_quoted(scope["path"]))
                if status:
                    raise
                await error_response(internal_error(), scope["path"])(scope, receive, send_with_id)
            finally:
                seconds = time.perf_counter() - started
                self._observer.observe_request(scope["method"], _template(scope), status or 499, seconds)
                log = _log.debug if scope["path"] in _QUIET_PATHS else _log.info
                log(
                    "request",
                    method=scope["method"],
                    path=_quoted(scope["path"]),
                    status=status or 499,
                    milliseconds=round(seconds * 1000, 2),
                )


def _quoted(path: str) -> str:
    """Return a percent-encoded path, so that log lines contain no control characters."""
    return quote(path, safe="/:@!$&'()*+,;=~")


def _template(scope: Scope) -> str:
    """Return the route's template, so that there is one time series per route and not per id."""
    return getattr(scope.get("route"), "path", None) or "unmatched"
