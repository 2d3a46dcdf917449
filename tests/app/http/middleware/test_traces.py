"""Spans of requests, in a real collector."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import httpx
import pytest

from app.services.models.service import ModelService
from faceter.contracts.settings import Settings
from tests.app.http.middleware.test_trace_headers import BODY, SAMPLED, SPAN, TRACE, parts
from tests.app.translator_fixtures import halver
from tests.app.uploads import add_model, image
from tests.engines import graphs

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra otel is not installed")
from tests.tracing.collector import Collector

PREDICT = "POST /v1/models/{model_id}/predict"


@pytest.fixture
def traced(collector: Collector, start_server: Callable[[Settings], httpx.Client], settings: Settings) -> httpx.Client:
    """An API that exports its spans, with one thread for inference."""
    return start_server(settings.model_copy(update={"inference_workers": 1}))


@pytest.mark.parametrize("kind", ["images", "tensors"])
def test_a_prediction_has_spans_of_its_wait_and_its_run(traced: httpx.Client, collector: Collector, kind: str) -> None:
    model = add_model(traced) if kind == "images" else add_model(traced, graphs.adder(), metadata=None)
    address, headers = f"/v1/models/{model['id']}/predict", {**SAMPLED, "tracestate": "a=1,b=2"}
    before = time.time_ns()
    if kind == "images":
        answered = traced.post(address, files={"file": image()}, headers={**headers, "X-Request-ID": "mine"})
    else:
        answered = traced.post(address, json=BODY, headers={**headers, "X-Request-ID": "mine"})
    assert answered.status_code == 200
    trace, span, flags = parts(answered)
    assert (trace, flags) == (TRACE, "01")
    spans = collector.spans(TRACE, 3)
    server, wait, run = spans[PREDICT], spans["wait in queue"], spans["run model"]
    assert (server.kind, server.span_id, server.parent_id, server.state) == ("SERVER", span, SPAN, "a=1,b=2")
    assert server.attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/models/{model_id}/predict",
        "http.response.status_code": 200,
        "url.path": address,
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "faceter.request.id": "mine",
    }
    for part in (wait, run):
        assert (part.kind, part.parent_id, part.failed) == ("INTERNAL", span, False)
        assert part.attributes == {"faceter.model.id": model["id"]}
    times = [before, server.began, wait.began, wait.ended, run.began, run.ended, server.ended, time.time_ns()]
    assert all(earlier <= later for earlier, later in pairwise(times))
    assert server.resource["service.name"] == "faceter"
    assert server.resource["process.pid"] == os.getpid()


def test_texts_and_tensors_of_the_inference_protocol_too(traced: httpx.Client, collector: Collector) -> None:
    id = add_model(traced, graphs.adder(), metadata=None)["id"]
    inputs = [{"name": name, "datatype": "FP32", "shape": [1, 2], "data": [1, 2]} for name in ("a", "b")]
    answered = traced.post(f"/v2/models/{id}/infer", json={"inputs": inputs}, headers=SAMPLED)
    assert answered.status_code == 200
    spans = collector.spans(TRACE, 3)
    server = spans.pop("POST /v2/models/{model_id}/infer")
    assert {name: span.parent_id for name, span in spans.items()} == {
        "wait in queue": server.span_id,
        "run model": server.span_id,
    }


def test_a_translation_too(traced: httpx.Client, collector: Collector) -> None:
    generator = add_model(traced, halver(), metadata=None)["id"]
    translator = traced.post("/v1/translators", json={"a2b_id": generator}).json()["id"]
    address = f"/v1/translators/{translator}/translate"
    assert traced.post(address, files={"file": image()}, headers=SAMPLED).status_code == 200
    spans = collector.spans(TRACE, 3)
    server, run = spans["POST /v1/translators/{translator_id}/translate"], spans["run model"]
    assert (run.parent_id, run.attributes) == (server.span_id, {"faceter.model.id": generator})


def test_errors_of_the_server_are_errors_of_the_span_and_others_are_not(
    traced: httpx.Client, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    def span_of(response: httpx.Response) -> Any:
        trace, *_ = parts(response)
        (span,) = collector.wait(lambda: [span for span in collector.received if span.trace_id == trace])
        return span

    missing = span_of(traced.get("/v1/models/mdl_x"))
    assert (missing.name, missing.failed) == ("GET /v1/models/{model_id}", False)
    assert missing.attributes["http.response.status_code"] == 404
    assert missing.parent_id == ""
    nowhere = span_of(traced.get("/nowhere"))
    assert (nowhere.name, nowhere.failed, "http.route" in nowhere.attributes) == ("GET", False, False)

    def fail(*arguments: object) -> None:
        raise RuntimeError("a secret of the house")

    monkeypatch.setattr(ModelService, "get", fail)
    failed = span_of(traced.get("/v1/models/mdl_x"))
    assert (failed.name, failed.failed) == ("GET /v1/models/{model_id}", True)
    assert failed.attributes["http.response.status_code"] == 500
    assert failed.attributes["error.type"] == "RuntimeError"
    assert "secret" not in str(failed)
    head = span_of(traced.head("/v1/models"))
    assert head.name == "HEAD /v1/models"


def test_a_request_that_waits_until_its_deadline_has_no_run(traced: httpx.Client, collector: Collector) -> None:
    endless = f"/v1/models/{add_model(traced, graphs.endless(), metadata=None)['id']}/predict"
    quick = f"/v1/models/{add_model(traced, graphs.adder(), metadata=None)['id']}/predict"
    with ThreadPoolExecutor(1) as pool:
        headers = {"X-Request-Timeout": "1"}
        stuck = pool.submit(traced.post, endless, json={"inputs": {"times": 2**60}}, headers=headers)
        time.sleep(0.3)
        late = traced.post(quick, json=BODY, headers={**SAMPLED, "X-Request-Timeout": "0.2"})
        assert (late.status_code, stuck.result().status_code) == (504, 504)
    spans = collector.spans(TRACE, 2)
    assert spans[PREDICT].failed
    assert (spans["wait in queue"].failed, spans["wait in queue"].attributes["error.type"]) == (True, "deadline")
    trace, *_ = parts(stuck.result())
    stopped = collector.spans(trace, 3)["run model"]
    assert (stopped.failed, stopped.attributes["error.type"]) == (True, "FaceterError")


def test_what_its_caller_does_not_record_is_not_exported(traced: httpx.Client, collector: Collector) -> None:
    address = f"/v1/models/{add_model(traced, graphs.adder(), metadata=None)['id']}/predict"
    answered = traced.post(address, json=BODY, headers={"traceparent": f"00-{TRACE}-{SPAN}-00"})
    assert parts(answered)[::2] == (TRACE, "00")
    last, *_ = parts(traced.post(address, json=BODY))
    collector.spans(last, 3)
    assert [span for span in collector.received if span.trace_id == TRACE] == []


def test_the_last_spans_are_exported_when_the_api_ends(
    collector: Collector, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.main import create_app
    from tests.app.conftest import serving

    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "600000")
    with serving(create_app(settings)) as url:
        trace, *_ = parts(httpx.get(f"{url}/healthz"))
    assert [span.name for span in collector.received if span.trace_id == trace] == ["GET /healthz"]
