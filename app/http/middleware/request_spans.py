"""What an exported span says of a request, by the semantic conventions of OpenTelemetry for HTTP."""

from typing import Final

from starlette.types import Scope

from app.services.monitoring.prometheus import METHODS
from faceter.tracing.spans import Span

_CLIENT_LEFT: Final = 499
_SERVER_ERROR: Final = 500


def end_span(span: Span, scope: Scope, template: str | None, request_id: str, status: int, failure: str | None) -> None:
    """Export the span of a request: its name is the method and the template of the route.

    Args:
        span: The span.
        scope: Of the request.
        template: Template of the route; None if there is none.
        request_id: Its `X-Request-ID`.
        status: HTTP status of the response; 499 if the client left before it.
        failure: Name of the exception that was not handled; None if there was none.
    """
    method = scope["method"]
    attributes: dict[str, str | int | float | bool] = {
        "http.request.method": method if method in METHODS else "_OTHER",
        "url.path": scope["path"],
        "url.scheme": scope.get("scheme", "http"),
        "network.protocol.version": scope.get("http_version", "1.1"),
        "faceter.request.id": request_id,
    }
    if template is not None:
        attributes["http.route"] = template
    if status == _CLIENT_LEFT:
        attributes["error.type"] = "client_left"
    else:
        attributes["http.response.status_code"] = status
    error = failure or (str(status) if status >= _SERVER_ERROR else None)
    name = method if method in METHODS else "HTTP"
    span.end(name if template is None else f"{name} {template}", attributes=attributes, error=error)
