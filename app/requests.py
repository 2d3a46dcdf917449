"""What happens around every request: its id, its log line, its metrics, and the last net under it."""

import re
import time
import uuid
from typing import Final, Protocol

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.problems import error_response, internal_error

REQUEST_ID_HEADER: Final = "X-Request-ID"

_ACCEPTABLE_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")
_QUIET_PATHS: Final = frozenset({"/healthz", "/readyz", "/metrics"})

_log = structlog.get_logger("app.requests")


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
                _log.exception("request failed", method=scope["method"], path=scope["path"])
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
                    path=scope["path"],
                    status=status or 499,
                    milliseconds=round(seconds * 1000, 2),
                )


def _template(scope: Scope) -> str:
    """Return the route's template, so that there is one series a route and not one an id."""
    return getattr(scope.get("route"), "path", None) or "unmatched"
