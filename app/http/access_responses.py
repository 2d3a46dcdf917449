"""What the OpenAPI document says of API keys: security schemes, and the errors that any operation may have."""

from typing import Any, Final

from app.http.inference_protocol.errors import documented_failures, is_of_protocol
from app.http.middleware.authentication import COOKIE, needed_scope
from app.http.problems import documented
from faceter.contracts.errors import ProblemKind

_KINDS: Final = {
    "Unauthenticated": (ProblemKind.UNAUTHENTICATED,),
    "Forbidden": (ProblemKind.FORBIDDEN, ProblemKind.QUOTA_EXCEEDED),
    "RateLimited": (ProblemKind.RATE_LIMITED,),
}
"""Problems of operations that may need a key, by the name of their response."""
_HEADERS_TOO_LARGE: Final = "HeadersTooLarge"
_PROTOCOL: Final = "Protocol"
"""Prefix of the responses in the form of the Open Inference Protocol."""

_SCHEMES: Final = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, for programs; see `FACETER_AUTHENTICATION`.",
    },
    "cookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": "An API key that a browser keeps after `POST /v1/session`.",
    },
}


def add_access(document: dict[str, Any]) -> None:
    """Add the schemes to the document, and to every operation references to the responses."""
    components = document["components"]
    components["securitySchemes"] = _SCHEMES
    components["responses"] = responses = _responses()
    for path, methods in document["paths"].items():
        prefix = _PROTOCOL if is_of_protocol(path) else ""
        for method, operation in methods.items():
            names = [_HEADERS_TOO_LARGE]
            if needed_scope(method.upper(), path) is not None:
                names += [f"{prefix}{name}" for name in _KINDS]
                operation["security"] = [{}, *({name: []} for name in _SCHEMES)]
            found = operation["responses"]
            for name in names:
                ((status, response),) = responses[name].items()
                found[status] = _merged(found[status], response) if status in found else _reference(name)
            operation["responses"] = dict(sorted(found.items()))
    components["responses"] = {
        name: response for name, by_status in responses.items() for response in by_status.values()
    }


def _responses() -> dict[str, dict[str, Any]]:
    """Return the status and the response of each name."""
    own = {name: documented(*kinds) for name, kinds in _KINDS.items()}
    own[_HEADERS_TOO_LARGE] = documented(ProblemKind.HEADERS_TOO_LARGE)
    protocol = {f"{_PROTOCOL}{name}": documented_failures(*kinds) for name, kinds in _KINDS.items()}
    return {
        name: {str(status): response for status, response in by_status.items()}
        for name, by_status in (own | protocol).items()
    }


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/responses/{name}"}


def _merged(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Return a response with the description and the examples of both; they have one media type."""
    ((media_type, content),) = first["content"].items()
    examples = content["examples"] | second["content"][media_type]["examples"]
    return {
        **first,
        "description": f"{first['description']} {second['description']}",
        "content": {media_type: {**content, "examples": examples}},
    }
