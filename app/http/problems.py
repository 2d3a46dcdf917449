"""Error responses as RFC 9457 problem documents, and their OpenAPI description."""

import json
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import compile_path

from app.http.inference_protocol.errors import is_of_protocol, protocol_failure
from faceter.contracts.errors import FaceterError, FieldProblem, Problem, ProblemKind

MEDIA_TYPE: Final = "application/problem+json"

_MESSAGES: Final = {
    "extra_forbidden": "There is no field or parameter of this name",
    "missing": "This is required",
    "union_tag_not_found": "This is required",
    "dict_type": "Should be a JSON object",
    "model_type": "Should be a JSON object",
    "model_attributes_type": "Should be a JSON object",
    "list_type": "Should be a JSON list",
    "int_parsing": "Should be a whole number",
    "int_from_float": "Should be a whole number",
    "bool_parsing": "Should be true or false",
    "string_unicode": "Should be text without half characters",
}

_UNION_ERRORS: Final = ("union_tag_invalid", "union_tag_not_found")
"""Pydantic's error types for a missing or invalid discriminator."""

_MOST_ECHOED: Final = 200
_NO_MEMORY_RETRY_SECONDS: Final = 10

_WITH_RETRY_AFTER: Final = (
    ProblemKind.IDEMPOTENCY_IN_PROGRESS,
    ProblemKind.TOO_MANY_REQUESTS,
    ProblemKind.RATE_LIMITED,
    ProblemKind.OVERLOADED,
    ProblemKind.DEADLINE_EXCEEDED,
    ProblemKind.STORE_UNAVAILABLE,
)

_KIND_BY_STATUS: Final = {
    400: ProblemKind.MALFORMED_BODY,
    404: ProblemKind.NOT_FOUND,
    405: ProblemKind.METHOD_NOT_ALLOWED,
    406: ProblemKind.NOT_ACCEPTABLE,
    413: ProblemKind.PAYLOAD_TOO_LARGE,
    415: ProblemKind.UNSUPPORTED_MEDIA_TYPE,
    416: ProblemKind.RANGE_NOT_SATISFIABLE,
}


def problem_response(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """Return the response that carries a problem document, or for an address of `/v2` that protocol's own error."""
    if problem.instance is not None and is_of_protocol(problem.instance):
        return protocol_failure(problem, headers)
    text = json.dumps(problem.model_dump(), ensure_ascii=False, separators=(",", ":"))
    return Response(text.encode(errors="replace"), problem.status, headers, MEDIA_TYPE)


def error_response(error: FaceterError, path: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return the response for an error at ``path``, with `Retry-After` if the error has it."""
    retry = {"Retry-After": str(error.retry_after)} if error.retry_after is not None else {}
    return problem_response(error.problem(path), {**retry, **(headers or {})})


def internal_error() -> FaceterError:
    """Return the error for an unhandled exception; it does not reveal the cause."""
    return FaceterError(
        ProblemKind.INTERNAL_ERROR,
        "This is an error of the server, not of your request. It was logged with the X-Request-ID of this response; "
        "report that id to the operator.",
    )


def no_memory() -> FaceterError:
    """Return the error for a request for which the process has no memory at the moment."""
    return FaceterError(
        ProblemKind.OVERLOADED,
        "The server has no memory left for this request at the moment. Try again later, or send less at a time.",
        retry_after=_NO_MEMORY_RETRY_SECONDS,
    )


def field_problems(errors: Sequence[Mapping[str, Any]], prefix: str = "") -> list[FieldProblem]:
    """Return pydantic's errors as field paths and messages.

    Args:
        errors: From `ValidationError.errors()`.
        prefix: Path of the validated object in the request.
    """
    problems = []
    for error in errors:
        path = ".".join(str(part) for part in (prefix, *error["loc"]) if part != "")
        problems.append(FieldProblem(field=path[:_MOST_ECHOED], message=_message(error)))
    return problems


def _message(error: Mapping[str, Any]) -> str:
    """Return pydantic's message, with JSON terms instead of Python ones."""
    if error["type"] == "union_tag_invalid":
        return f"Should be one of {error['ctx']['expected_tags']}"
    return _MESSAGES.get(error["type"]) or str(error["msg"]).removeprefix("Value error, ")


def invalid_request(errors: list[FieldProblem], kind: ProblemKind = ProblemKind.INVALID_REQUEST) -> FaceterError:
    """Return one error with all invalid fields; its detail names the first three."""
    messages = "; ".join(f"{error.field}: {error.message}" for error in errors[:3])
    more = f"; and {len(errors) - 3} more" if len(errors) > 3 else ""
    return FaceterError(kind, f"{messages}{more}.", errors=errors)


def from_validation_error(error: RequestValidationError, content_type: str | None) -> FaceterError:
    """Convert FastAPI's validation error to a `FaceterError`.

    Args:
        error: The validation error.
        content_type: Content type of the request, because a body that is not JSON fails validation as a whole.
    """
    errors = error.errors()
    for item in errors:
        if item["type"] == "missing" and tuple(item["loc"]) == ("body",):
            return FaceterError(ProblemKind.INVALID_REQUEST, "There is no body; send a JSON object.", field="body")
        if item["type"] == "json_invalid" and item["loc"][0] == "body":
            position = item["loc"][-1]
            reason = item.get("ctx", {}).get("error", "not JSON")
            return FaceterError(
                ProblemKind.MALFORMED_BODY, f"The body is not JSON: {reason} at character {position}.", field="body"
            )
        is_body_error = item["loc"][0] == "body" and (len(item["loc"]) == 1 or not isinstance(error.body, dict))
        if is_body_error and item["type"] != "missing" and not _is_json(content_type):
            return FaceterError(
                ProblemKind.UNSUPPORTED_MEDIA_TYPE,
                f"The body must be JSON with Content-Type: application/json, not {content_type or 'without a type'}.",
            )
    return invalid_request(field_problems([{**item, "loc": _field_path(item, error.body)} for item in errors]))


def _field_path(item: Mapping[str, Any], body: object) -> tuple[int | str, ...]:
    """Return the path of an invalid field in the request.

    For discriminated unions, pydantic's path contains the discriminator value, which is not a field of the request.
    """
    path = tuple(item["loc"])
    if item["type"] in _UNION_ERRORS:
        return (*path[1:], str(item["ctx"]["discriminator"]).strip("'"))
    if len(path) == 1:
        return path
    if path[0] == "body" and not isinstance(body, dict):
        return path[:1]
    nested = path[0] == "body" and len(path) > 2
    has_kind_prefix = nested and isinstance(body, dict) and (body.get("kind") == path[1] or path[1] not in body)
    return path[2:] if has_kind_prefix else path[1:]


def _is_json(content_type: str | None) -> bool:
    subtype = (content_type or "").split(";")[0].strip().lower()
    return subtype == "application/json" or subtype.endswith("+json")


def from_http_exception(error: HTTPException, method: str, path: str, allowed: str = "") -> Problem:
    """Convert an HTTP exception of Starlette or FastAPI to a problem document.

    Args:
        error: The exception.
        method: Method of the request.
        path: Path of the request.
        allowed: Methods of the address, for an error of the method.
    """
    kind = _KIND_BY_STATUS.get(error.status_code)
    if kind is None:
        title = HTTPStatus(error.status_code).phrase
        return Problem(
            type="about:blank", title=title, status=error.status_code, detail=str(error.detail), instance=path
        )
    detail = str(error.detail)
    if detail == HTTPStatus(error.status_code).phrase:
        if kind is ProblemKind.NOT_FOUND:
            detail = f"There is nothing at {path}. /docs lists every address."
        elif kind is ProblemKind.METHOD_NOT_ALLOWED:
            detail = f"{path} does not allow {method}, only {allowed}."
    return FaceterError(kind, detail).problem(path)


def install(app: FastAPI) -> None:
    """Install exception handlers that respond with problem documents."""

    @app.exception_handler(FaceterError)
    async def faceter_error(request: Request, error: FaceterError) -> Response:
        return faceter_response(request, error)

    @app.exception_handler(RequestValidationError)
    async def validation_error(request: Request, error: RequestValidationError) -> Response:
        return error_response(from_validation_error(error, request.headers.get("content-type")), request.url.path)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        allowed = _methods_of(app.openapi()["paths"], request.url.path) if error.status_code == 405 else []
        return http_response(request, error, allowed)


def faceter_response(request: Request, error: FaceterError) -> Response:
    """Return the response to a request that ended with an error of ours."""
    return error_response(_with_list(error), request.url.path)


def http_response(request: Request, error: HTTPException, methods: Sequence[str] = ()) -> Response:
    """Return the response to a request that ended with an error of Starlette.

    Args:
        request: The request.
        error: The error.
        methods: What the address allows, for 405.
    """
    path, headers = request.url.path, dict(error.headers or {})
    if methods:
        headers["Allow"] = ", ".join(methods)
    return problem_response(from_http_exception(error, request.method, path, headers.get("Allow", "")), headers)


def _with_list(error: FaceterError) -> FaceterError:
    """Return an error for a missing resource with the address of the list of resources."""
    resource = error.extra.get("resource")
    if resource is None:
        return error
    detail = f"{error.detail} GET /v1/{resource} lists the existing ones."
    errors = [FieldProblem(field=item.field, message=detail) for item in error.errors]
    return FaceterError(error.kind, detail, errors=errors, retry_after=error.retry_after, **error.extra)


def _methods_of(templates: Mapping[str, Iterable[str]], path: str) -> list[str]:
    """Return the methods of an address, from the OpenAPI document.

    The exception of the router contains only the methods of the first route at that address.
    """
    methods = {
        method.upper()
        for template, operations in templates.items()
        if compile_path(template)[0].match(path)
        for method in operations
    }
    return sorted(methods | {"HEAD"} if "GET" in methods else methods)


def documented(*kinds: ProblemKind) -> dict[int | str, dict[str, Any]]:
    """Return FastAPI's `responses` for the problem kinds of an operation, with an example of each.

    Common kinds (`INTERNAL_ERROR`, and `STORE_UNAVAILABLE` for operations that use Redis) must be given too.
    """
    by_status: dict[int, list[ProblemKind]] = {}
    for kind in kinds:
        by_status.setdefault(kind.status, []).append(kind)
    responses: dict[int | str, dict[str, Any]] = {}
    for status, group in sorted(by_status.items()):
        slugs = ", ".join(f"[`{kind.value.slug}`]({kind.type})" for kind in group)
        responses[status] = {
            "description": f"{group[0].title}. Problem types: {slugs}."
            if len(group) == 1
            else f"One of these problem types: {slugs}.",
            "content": {
                MEDIA_TYPE: {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                    "examples": {kind.value.slug: {"summary": kind.title, "value": example(kind)} for kind in group},
                }
            },
        }
        if any(kind in _WITH_RETRY_AFTER for kind in group):
            responses[status]["headers"] = {
                "Retry-After": {"description": "Seconds to wait before trying again.", "schema": {"type": "integer"}}
            }
    return responses


def example(kind: ProblemKind) -> dict[str, Any]:
    """Return an example problem document of a kind."""
    return FaceterError(kind, f"{kind.title}.").problem("/v1/models").model_dump(mode="json")
