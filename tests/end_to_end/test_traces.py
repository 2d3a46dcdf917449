"""One trace through real processes: two of the API, a worker, their logs, and a real collector."""

import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.app.uploads import add_model
from tests.end_to_end.up_process import Start, Up, wait_until

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra otel is not installed")
from tests.tracing.collector import Collector

pytestmark = pytest.mark.end_to_end

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SUBMIT = "POST /v1/models/{model_id}/quantizations"


def lines(up: Up, trace: str) -> list[dict[str, Any]]:
    """Return the log lines of a trace."""
    found = [json.loads(line) for line in up.output.splitlines() if line.startswith("{")]
    return [line for line in found if line.get("trace_id") == trace]


def quantized(client: httpx.Client, headers: dict[str, str]) -> dict[str, Any]:
    """Quantize a small model; return the job when it has succeeded."""
    submitted = client.post(
        f"/v1/models/{add_model(client)['id']}/quantizations", json={"method": "rq"}, headers=headers
    )
    assert submitted.status_code == 202
    job: dict[str, Any] = {}

    def ended() -> bool:
        job.update(client.get(submitted.json()["links"]["self"]).json())
        return bool(job["status"] == "succeeded")

    wait_until(ended, lambda: str(job))
    return job


def test_one_trace_through_all_processes(tmp_path: Path, start: Start, collector: Collector) -> None:
    up = start(
        tmp_path / "data",
        *("--port", "0", "--workers", "1", "--api-workers", "2"),
        OTEL_SERVICE_NAME="under-test",
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=ci",
        FACETER_LOG_FORMAT="json",
    )
    up.hears("Ready after")
    with httpx.Client(base_url=up.url, timeout=30) as client:
        job = quantized(client, {"traceparent": f"00-{TRACE}-{SPAN}-01"})
    spans = collector.spans(TRACE, 2)
    request, attempt = spans[SUBMIT], spans["quantization job"]
    assert (request.parent_id, attempt.parent_id) == (SPAN, request.span_id)
    assert (request.attributes["http.response.status_code"], attempt.failed) == (202, False)
    assert attempt.attributes["faceter.job.id"] == job["id"]
    assert attempt.began >= request.began
    for span in (request, attempt):
        assert span.resource["service.name"] == "under-test"
        assert span.resource["deployment.environment.name"] == "ci"
    assert request.resource["process.pid"] != attempt.resource["process.pid"]

    ended = f"job {job['id']} succeeded"
    wait_until(lambda: any(line["event"] == ended for line in lines(up, TRACE)), lambda: up.output)
    logged = lines(up, TRACE)
    assert [line["span_id"] for line in logged if line["event"] == "request"] == [request.span_id]
    of_job = [line for line in logged if line["logger"] == "faceter.worker"]
    assert {(line["span_id"], line["job_id"]) for line in of_job} == {(attempt.span_id, job["id"])}
    assert {f"job {job['id']} started, attempt 1", ended} <= {line["event"] for line in of_job}

    _every_process_of_the_api_exports(up, collector)


def _every_process_of_the_api_exports(up: Up, collector: Collector) -> None:
    def exporting() -> set[int]:
        httpx.get(f"{up.url}/v1/jobs", timeout=10)
        return {span.resource["process.pid"] for span in collector.received if span.kind == "SERVER"}

    wait_until(lambda: len(exporting()) == 2, lambda: str(exporting()))


def test_without_a_collector_logs_have_the_trace(tmp_path: Path, start: Start) -> None:
    up = start(tmp_path / "data", "--port", "0", "--workers", "1", FACETER_LOG_FORMAT="json")
    up.hears("Ready after")
    with httpx.Client(base_url=up.url, timeout=30) as client:
        quantized(client, {"traceparent": f"00-{TRACE}-{SPAN}-00", "X-Request-ID": "mine"})
    wait_until(lambda: any(line["event"].endswith(" succeeded") for line in lines(up, TRACE)), lambda: up.output)
    time.sleep(0.1)
    logged = lines(up, TRACE)
    assert {line.get("request_id") for line in logged if line["event"] == "request"} == {"mine"}
    spans = {line["logger"]: line["span_id"] for line in logged}
    assert len({*spans.values(), SPAN}) == 3, spans
    assert "Traceback" not in up.output
