"""Spans exported by OpenTelemetry's SDK; the only file that imports it.

Which spans, where to, and what describes this process is set by the environment variables of OpenTelemetry. The SDK is
used without its global provider, so that no other instrumentation in this process exports the same spans.
"""

import os
import threading
from collections.abc import Sequence
from importlib.metadata import version
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.trace import NonRecordingSpan, SpanContext, Status, StatusCode, TraceFlags, TraceState

from faceter.tracing.spans import Attributes, Span, SpanKind, Tracer
from faceter.tracing.trace_context import TraceContext

_CLOSE_SECONDS: Final = 3.0
_TIMEOUTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")
_SINGLE_SECONDS: Final = 3
"""Longest time to send one span; a worker takes no other job meanwhile."""
_KINDS: Final = {SpanKind.SERVER: trace.SpanKind.SERVER, SpanKind.CONSUMER: trace.SpanKind.CONSUMER}


class ExportingTracer(Tracer):
    """Begins spans that are exported over OTLP/HTTP, unless the sampler leaves them out.

    Args:
        one_by_one: Whether `Span.end` sends the span itself; otherwise a thread sends those of a few seconds at once.

    Raises:
        ValueError: If a variable of OpenTelemetry has a value that the SDK refuses.
    """

    def __init__(self, *, one_by_one: bool) -> None:
        self._provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        processor = SimpleSpanProcessor(_FreshExporter()) if one_by_one else BatchSpanProcessor(OTLPSpanExporter())
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("faceter", version("faceter"))

    def begin(self, name: str, parent: TraceContext | None, kind: SpanKind) -> Span:
        """Return a new span; see `Tracer.begin`."""
        started = self._tracer.start_span(name, _within(parent), _KINDS[kind])
        place = started.get_span_context()
        context = TraceContext(
            f"{place.trace_id:032x}", f"{place.span_id:016x}", int(place.trace_flags), parent.state if parent else ""
        )
        return ExportedSpan(context, self._tracer, started) if started.is_recording() else Span(context)

    def close(self) -> None:
        """Export what has ended; a collector that does not respond is given up after a few seconds."""
        thread = threading.Thread(target=self._provider.shutdown, daemon=True)
        thread.start()
        thread.join(_CLOSE_SECONDS)


class ExportedSpan(Span):
    """A span that is exported.

    Args:
        context: Its place in the trace.
        tracer: Begins its children.
        span: The same in the SDK.
    """

    __slots__ = ("_inside", "_span", "_tracer")

    recording = True

    def __init__(self, context: TraceContext, tracer: trace.Tracer, span: trace.Span) -> None:
        super().__init__(context)
        self._tracer = tracer
        self._span = span
        self._inside = trace.set_span_in_context(span, Context())

    def record(
        self, name: str, started: int, *, attributes: Attributes | None = None, error: str | None = None
    ) -> None:
        """Export a part of it that ends now, as a child; see `Span.record`."""
        _end(self._tracer.start_span(name, self._inside, start_time=started), attributes, error)

    def end(self, name: str, *, attributes: Attributes | None = None, error: str | None = None) -> None:
        """Export it."""
        self._span.update_name(name)
        _end(self._span, attributes, error)


class _FreshExporter(SpanExporter):
    """Sends each batch over a connection of its own, which a process shares with none that it forks."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans."""
        seconds = None if any(os.environ.get(name) for name in _TIMEOUTS) else _SINGLE_SECONDS
        exporter = OTLPSpanExporter(timeout=seconds)
        try:
            return exporter.export(spans)
        finally:
            exporter.shutdown()  # type: ignore[no-untyped-call]


def _end(span: trace.Span, attributes: Attributes | None, error: str | None) -> None:
    if attributes:
        span.set_attributes(dict(attributes))
    if error is not None:
        span.set_attribute("error.type", error)
        span.set_status(Status(StatusCode.ERROR))
    span.end()


def _within(parent: TraceContext | None) -> Context:
    """Return the SDK's context of what a span caused; an empty one begins a trace."""
    if parent is None:
        return Context()
    place = SpanContext(
        int(parent.trace_id, 16),
        int(parent.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(parent.flags),
        trace_state=TraceState.from_header([parent.state]) if parent.state else None,
    )
    return trace.set_span_in_context(NonRecordingSpan(place), Context())


def _resource() -> Resource:
    """Return what describes this process; the variables of OpenTelemetry come first."""
    ours = Resource({SERVICE_NAME: "faceter", "service.version": version("faceter"), "process.pid": os.getpid()})
    return Resource.create(ours.merge(OTELResourceDetector().detect()).attributes)
