"""Spans of gRPC calls, in a real collector."""

import httpx
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from app.main import create_app
from faceter.contracts.settings import Settings
from tests.app.conftest import serving
from tests.app.grpc.test_clients import adding
from tests.app.grpc.test_deadlines import endless
from tests.app.uploads import add_model
from tests.engines import graphs

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra otel is not installed")
from tests.tracing.collector import Collector

TRACES = {name: digit * 32 for name, digit in (("answered", "a"), ("refused", "b"), ("late", "c"))}
INFER = "inference.GRPCInferenceService/ModelInfer"


def headers(name: str) -> dict[str, str]:
    return {"traceparent": f"00-{TRACES[name]}-{'d' * 16}-01", "tracestate": "a=1"}


def test_a_call_has_spans_of_its_wait_and_its_run(collector: Collector, settings: Settings) -> None:
    app = create_app(settings.model_copy(update={"grpc_port": 0}))
    with serving(app) as url, httpx.Client(base_url=url, timeout=30) as http:
        id = add_model(http, graphs.adder(), metadata=None)["id"]
        slow = add_model(http, graphs.endless(), metadata=None)["id"]
        with triton.InferenceServerClient(f"127.0.0.1:{app.state.grpc_port}") as client:
            client.infer(id, adding(), headers=headers("answered"))
            with pytest.raises(InferenceServerException):
                client.infer("mdl_x", adding(), headers=headers("refused"))
            with pytest.raises(InferenceServerException):
                client.infer(slow, endless(), timeout=200_000, headers=headers("late"))
        answered = collector.spans(TRACES["answered"], 3)
        server = answered.pop(INFER)
        assert (server.kind, server.parent_id, server.state, server.failed) == ("SERVER", "d" * 16, "a=1", False)
        assert server.attributes.pop("faceter.request.id")
        assert server.attributes == {
            "rpc.system.name": "grpc",
            "rpc.method": INFER,
            "rpc.response.status_code": "OK",
        }
        assert {span.name for span in answered.values()} == {"wait in queue", "run model"}
        assert {span.parent_id for span in answered.values()} == {server.span_id}
        endings = {}
        for name in ("refused", "late"):
            (span,) = collector.wait(
                lambda name=name: [  # type: ignore[misc]
                    span for span in collector.received if span.trace_id == TRACES[name] and span.kind == "SERVER"
                ]
            )
            endings[name] = span.attributes["rpc.response.status_code"], span.failed
        assert endings == {"refused": ("NOT_FOUND", False), "late": ("DEADLINE_EXCEEDED", True)}
