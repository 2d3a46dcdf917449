"""When spans are exported, by the environment variables of OpenTelemetry."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from faceter.tracing.configuration import open_tracer
from faceter.tracing.spans import SpanKind, Tracer

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
URL = "http://127.0.0.1:1"

_ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)


def opened() -> tuple[type[Tracer], list[str]]:
    """Return the type of the tracer, and why spans are not exported."""
    with capture_logs() as lines:
        tracer = open_tracer()
    tracer.close()
    return type(tracer), [line["reason"] for line in lines]


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {ENDPOINT: ""},
        {ENDPOINT: URL, "OTEL_SDK_DISABLED": "True"},
        {ENDPOINT: URL, "OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_SERVICE_NAME": "mine"},
    ],
)
def test_by_default_nothing_is_exported(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert opened() == (Tracer, [])


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("OTEL_TRACES_EXPORTER", "zipkin", "zipkin"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json", "http/protobuf"),
    ],
)
def test_what_cannot_be_done_is_said(monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str) -> None:
    monkeypatch.setenv(ENDPOINT, URL)
    monkeypatch.setenv(name, value)
    kind, (reason,) = opened()
    assert kind is Tracer
    assert words in reason


def test_without_the_packages_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT, URL)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    monkeypatch.delitem(sys.modules, "faceter.tracing.export", raising=False)
    kind, (reason,) = opened()
    assert kind is Tracer
    assert "faceter[otel]" in reason


def test_a_value_that_the_sdk_refuses_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra otel is not installed")
    monkeypatch.setenv(ENDPOINT, URL)
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "100000")
    kind, (reason,) = opened()
    assert kind is Tracer
    assert "max_export_batch_size" in reason


def test_without_configuration_spans_are_in_the_trace_and_not_exported() -> None:
    tracer = open_tracer()
    first = tracer.begin("GET", None, SpanKind.SERVER)
    second = tracer.begin("GET", first.context, SpanKind.SERVER)
    assert not first.recording
    assert second.context.trace_id == first.context.trace_id
    assert second.context.span_id != first.context.span_id


def test_without_configuration_the_sdk_is_not_loaded(tmp_path: Path) -> None:
    """FastAPI and the client of Redis load parts of OpenTelemetry of themselves, where they are installed."""
    code = (
        "import sys; from app.main import create_app; create_app(); import workers.main;"
        "print([name for name in sys.modules if name.startswith(('opentelemetry.sdk.trace', 'opentelemetry.exporter',"
        " 'faceter.tracing.export'))])"
    )
    environment = {**os.environ, "FACETER_DATA_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=_ROOT, env=environment, check=True
    )
    assert done.stdout.strip() == "[]"
