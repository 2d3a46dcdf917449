"""Whether spans are exported, by the environment variables of OpenTelemetry."""

import os
from collections.abc import Mapping
from typing import Final

import structlog

from faceter.tracing.spans import Tracer

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_EXPORTERS: Final = "OTEL_TRACES_EXPORTER"
_OTLP: Final = "otlp"
_HTTP: Final = "http/protobuf"

_log = structlog.get_logger("faceter.tracing.configuration")


def open_tracer(*, one_by_one: bool = False) -> Tracer:
    """Return what begins the spans of this process, and exports them if OpenTelemetry is configured.

    What is configured and cannot be done is logged: it must not keep the service from its work.

    Args:
        one_by_one: Whether `Span.end` sends the span itself, for processes that fork. Otherwise a thread does.
    """
    environment = {name: value.strip() for name, value in os.environ.items() if name.startswith("OTEL_")}
    if not _wanted(environment):
        return Tracer()
    problem = _problem(environment)
    if problem is None:
        try:
            # Imports OpenTelemetry, which is optional and takes a tenth of a second.
            from faceter.tracing.export import ExportingTracer

            return ExportingTracer(one_by_one=one_by_one)
        except ImportError as error:
            problem = f"{error}. Install the extra of Faceter: pip install 'faceter[otel]'"
        except ValueError as error:
            problem = str(error)
    _log.warning("traces are not exported", reason=problem)
    return Tracer()


def _wanted(environment: Mapping[str, str]) -> bool:
    """Return whether an address is given, or the exporter by its name; by default nothing is exported."""
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true" or environment.get(_EXPORTERS) == "none":
        return False
    return any(environment.get(name) for name in (*_ENDPOINTS, _EXPORTERS))


def _problem(environment: Mapping[str, str]) -> str | None:
    """Return why spans cannot be exported as the environment says; None if they can."""
    exporter = environment.get(_EXPORTERS) or _OTLP
    if exporter != _OTLP:
        return f"{_EXPORTERS} is {exporter!r}; there is {_OTLP} only."
    protocol = next((environment[name] for name in _PROTOCOLS if environment.get(name)), _HTTP)
    if protocol != _HTTP:
        return f"The protocol of OTLP is {protocol!r}; set {_PROTOCOLS[1]} to {_HTTP}, and the port of that."
    return None
