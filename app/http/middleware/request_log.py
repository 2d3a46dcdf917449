"""Request ids, traces, request logs and metrics; unhandled exceptions become status 500."""

import re
import time
import uuid
from typing import Final, Protocol
from urllib.parse import quote

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, reset_contextvars

from app.http.middleware.request_spans import end_span
from app.http.problems import error_response, internal_error, no_memory
from faceter.tracing.spans import SpanKind, Tracer, enter, leave
from faceter.tracing.trace_context import PARENT_HEADER, STATE_HEADER, TraceContext

REQUEST_ID_HEADER: Final = "X-Request-ID"

_RAW_ID: Final = REQUEST_ID_HEADER.lower().encode()
_RAW_PARENT: Final = PARENT_HEADER.encode()
_RAW_STATE: Final = STATE_HEADER.encode()

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
    """ASGI middleware that assigns request ids and spans, logs and counts requests, and maps exceptions to 500.

    The id is the client's `X-Request-ID` if that matches `[A-Za-z0-9._-]{1,128}`. The span continues the trace of the
    client's `traceparent`, or begins one. Both are in every log line of the request and in the response.

    Args:
        app: The application.
        observer: Records the requests.
        tracer: Begins the spans.
    """

    def __init__(self, app: ASGIApp, observer: Observer, tracer: Tracer) -> None:
        self._app = app
        self._observer = observer
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward the request and record it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id, parent = _sent(scope)
        span = self._tracer.begin(scope["method"], parent, SpanKind.SERVER)
        status, failure = 0, None

        async def send_with_ids(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                ids = (_RAW_ID, request_id.encode()), (_RAW_PARENT, span.context.parent_header.encode())
                message = {**message, "headers": [*message.get("headers", ()), *ids]}
            await send(message)

        token = enter(span)
        bound = bind_contextvars(request_id=request_id, trace_id=span.context.trace_id, span_id=span.context.span_id)
        try:
            await self._app(scope, receive, send_with_ids)
        except ClientDisconnect:
            status = 499
        except MemoryError:
            failure = MemoryError.__name__
            _log.error("no memory left", method=scope["method"], path=_quoted(scope["path"]))
            if status:
                raise
            await error_response(no_memory(), scope["path"])(scope, receive, send_with_ids)
        except Exception as error:
            failure = type(error).__name__
            _log.exception("request failed", method=scope["method"], path=_quoted(scope["path"]))
            if status:
                raise
            await error_response(internal_error(), scope["path"])(scope, receive, send_with_ids)
        finally:
            seconds = time.perf_counter() - started
            template = _template(scope)
            self._observer.observe_request(scope["method"], template or "unmatched", status or 499, seconds)
            log = _log.debug if scope["path"] in _QUIET_PATHS else _log.info
            log(
                "request",
                method=scope["method"],
                path=_quoted(scope["path"]),
                status=status or 499,
                milliseconds=round(seconds * 1000, 2),
            )
            leave(token)
            reset_contextvars(**bound)
            if span.recording:
                end_span(span, scope, template, request_id, status or 499, failure)


def _sent(scope: Scope) -> tuple[str, TraceContext | None]:
    """Return the id of a request, its client's or a new one, and the span that caused it."""
    client_id, parents, states = "", [], []
    for name, value in scope["headers"]:
        if name == _RAW_PARENT:
            parents.append(value.decode("latin-1"))
        elif name == _RAW_STATE:
            states.append(value.decode("latin-1"))
        elif name == _RAW_ID:
            client_id = client_id or value.decode("latin-1")
    request_id = client_id if _ACCEPTABLE_ID.fullmatch(client_id) else uuid.uuid4().hex
    return request_id, TraceContext.of_headers(parents, states)


def _quoted(path: str) -> str:
    """Return a percent-encoded path, so that log lines contain no control characters."""
    return quote(path, safe="/:@!$&'()*+,;=~")


def _template(scope: Scope) -> str | None:
    """Return the route's template, so that there is one time series per route and not per id; None without a route."""
    return getattr(scope.get("route"), "path", None)
