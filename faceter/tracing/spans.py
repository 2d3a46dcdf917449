"""Spans of requests and jobs. Those here are not exported; `faceter.tracing.export` has the others."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from enum import Enum, auto

from faceter.tracing.trace_context import TraceContext

Attributes = Mapping[str, str | int | float | bool]
"""Attributes of a span, by their names in OpenTelemetry's semantic conventions, or `faceter.…`."""


class SpanKind(Enum):
    """What a span is of."""

    SERVER = auto()
    """A request."""
    CONSUMER = auto()
    """A job from the queue."""


class Span:
    """A request or a job in its trace.

    Args:
        context: Its place in the trace.
    """

    __slots__ = ("context",)

    recording = False
    """Whether it is exported; if not, `record` and `end` do nothing."""

    def __init__(self, context: TraceContext) -> None:
        self.context = context

    def record(
        self, name: str, started: int, *, attributes: Attributes | None = None, error: str | None = None
    ) -> None:
        """Export a part of it that ends now, as a child; from any thread.

        Args:
            name: What was done; few different ones.
            started: Nanoseconds since 1970.
            attributes: Its attributes.
            error: A word for how it failed; None if it did not.
        """

    def end(self, name: str, *, attributes: Attributes | None = None, error: str | None = None) -> None:
        """Export it; see `record`."""


class Tracer:
    """Begins spans; those of this class are not exported."""

    def begin(self, name: str, parent: TraceContext | None, kind: SpanKind) -> Span:
        """Return a new span.

        Args:
            name: As far as it is known; `Span.end` has the whole.
            parent: What caused it; None begins a new trace.
            kind: What it is of.
        """
        return Span(TraceContext.new() if parent is None else parent.child())

    def close(self) -> None:
        """Export what has ended; takes a few seconds at most."""


_current: ContextVar[Span | None] = ContextVar("current span", default=None)


def current_span() -> Span | None:
    """Return the span of the request that this code runs for; None if it runs for none."""
    return _current.get()


def enter(span: Span) -> Token[Span | None]:
    """Make a span the current one, until `leave` is called with the result."""
    return _current.set(span)


def leave(token: Token[Span | None]) -> None:
    """Make the span current again that was before `enter`."""
    _current.reset(token)


@contextmanager
def recorded(name: str, attributes: Attributes | None = None) -> Iterator[None]:
    """Export the time of the block as a child of the current span, if that is exported."""
    span = _current.get()
    if span is None or not span.recording:
        yield
        return
    started, error = time.time_ns(), None
    try:
        yield
    except BaseException as caught:
        error = type(caught).__name__
        raise
    finally:
        span.record(name, started, attributes=attributes, error=error)
