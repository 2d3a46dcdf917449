"""Errors in the protocol's own form, and their OpenAPI description."""

import json
from collections.abc import Mapping
from typing import Any, Final

from starlette.responses import Response

from app.http.responses import JSON
from faceter.contracts.errors import Problem, ProblemKind

_ROOT: Final = "/v2"
_UNPROCESSABLE: Final = 422
_BAD_REQUEST: Final = 400
_WITH_RETRY_AFTER: Final = (
    ProblemKind.TOO_MANY_REQUESTS,
    ProblemKind.RATE_LIMITED,
    ProblemKind.OVERLOADED,
    ProblemKind.DEADLINE_EXCEEDED,
    ProblemKind.STORE_UNAVAILABLE,
)


def is_of_protocol(path: str) -> bool:
    """Return whether an address belongs to the protocol, so that its errors have the protocol's form."""
    return path == _ROOT or path.startswith(f"{_ROOT}/")


def protocol_failure(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """Return the response for a problem: `{"error": …}`. The protocol knows no 422; it is 400."""
    text = json.dumps({"error": problem.detail}, ensure_ascii=False, separators=(",", ":"))
    return Response(text.encode(errors="replace"), _status(problem.status), headers, JSON)


def _status(status: int) -> int:
    return _BAD_REQUEST if status == _UNPROCESSABLE else status


def documented_failures(*kinds: ProblemKind) -> dict[int | str, dict[str, Any]]:
    """Return FastAPI's `responses` for the errors of an operation, with an example of each."""
    responses: dict[int | str, dict[str, Any]] = {}
    for kind in sorted(kinds, key=lambda kind: _status(kind.status)):
        response = responses.setdefault(
            _status(kind.status),
            {
                "description": "",
                "content": {JSON: {"schema": {"$ref": "#/components/schemas/ProtocolFailure"}, "examples": {}}},
            },
        )
        response["description"] = f"{response['description']} {kind.title}.".strip()
        response["content"][JSON]["examples"][kind.value.slug] = {
            "summary": kind.title,
            "value": {"error": f"{kind.title}."},
        }
        if kind in _WITH_RETRY_AFTER:
            response["headers"] = {
                "Retry-After": {"description": "Seconds to wait before trying again.", "schema": {"type": "integer"}}
            }
    return responses
