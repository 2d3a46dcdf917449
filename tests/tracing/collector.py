"""A collector of spans over OTLP/HTTP, and what it received."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage
from opentelemetry.proto.trace.v1.trace_pb2 import Status

_PATIENCE = 60.0


@dataclass(frozen=True)
class ReceivedSpan:
    """A span as it was exported; ids in hexadecimal digits."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    state: str
    attributes: dict[str, Any]
    failed: bool
    began: int
    ended: int
    resource: dict[str, Any]


class Collector:
    """Receives spans on a free port, as a collector of OpenTelemetry does."""

    def __init__(self) -> None:
        self.received: list[ReceivedSpan] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def spans(self, trace_id: str, count: int) -> dict[str, ReceivedSpan]:
        """Wait for the spans of a trace; return them by their names, which all differ."""
        of_trace = self.wait(lambda: [span for span in self.received if span.trace_id == trace_id], count)
        named = {span.name: span for span in of_trace}
        assert len(named) == len(of_trace) == count, of_trace
        return named

    def wait(self, look: Callable[[], list[ReceivedSpan]], count: int = 1) -> list[ReceivedSpan]:
        """Wait until so many spans are found."""
        end = time.monotonic() + _PATIENCE
        while len(found := look()) < count:
            assert time.monotonic() < end, f"{len(found)} of {count} found among {self.received}"
            time.sleep(0.02)
        return found

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(collector: Collector) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert (self.path, self.headers["Content-Type"]) == ("/v1/traces", "application/x-protobuf")
            for batch in ExportTraceServiceRequest.FromString(body).resource_spans:
                resource = _values(batch.resource.attributes)
                for scope in batch.scope_spans:
                    assert scope.scope.name == "faceter"
                    collector.received += [_received(span, resource) for span in scope.spans]
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *arguments: object) -> None:
            pass

    return Handler


def _received(span: SpanMessage, resource: dict[str, Any]) -> ReceivedSpan:
    return ReceivedSpan(
        name=span.name,
        kind=SpanMessage.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        state=span.trace_state,
        attributes=_values(span.attributes),
        failed=span.status.code == Status.STATUS_CODE_ERROR,
        began=span.start_time_unix_nano,
        ended=span.end_time_unix_nano,
        resource=resource,
    )


def _values(pairs: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in pairs:
        assert isinstance(pair, KeyValue)
        found[pair.key] = getattr(pair.value, pair.value.WhichOneof("value") or "")
    return found
