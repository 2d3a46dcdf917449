"""Every error as an RFC 9457 problem document, and how the OpenAPI page lists them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import compile_path

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

_OF_KIND: Final = ("union_tag_invalid", "union_tag_not_found")
"""What pydantic calls it if a body does not say which of several kinds it is."""

_MOST_ECHOED: Final = 200

_WITH_RETRY_AFTER: Final = (
    ProblemKind.IDEMPOTENCY_IN_PROGRESS,
    ProblemKind.OVERLOADED,
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
    """Return the response that carries a problem document."""
    text = json.dumps(problem.model_dump(), ensure_ascii=False, separators=(",", ":"))
    return Response(text.encode(errors="replace"), problem.status, headers, MEDIA_TYPE)


def error_response(error: FaceterError, path: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return the response for an error that happened at ``path``, with `Retry-After` where trying again makes sense."""
    retry = {"Retry-After": str(error.retry_after)} if error.retry_after is not None else {}
    return problem_response(error.problem(path), {**retry, **(headers or {})})


def internal_error() -> FaceterError:
    """Return the error for something nobody foresaw; it says nothing of its cause."""
    return FaceterError(
        ProblemKind.INTERNAL_ERROR,
        "This is a defect of the server, not of your request. It was logged with the X-Request-ID of this answer; "
        "tell the operator that id.",
    )


def field_problems(errors: Sequence[Mapping[str, Any]], prefix: str = "") -> list[FieldProblem]:
    """Return pydantic's errors as fields and messages, each field by its path as in the request.

    Args:
        errors: From `ValidationError.errors()`.
        prefix: The path of what was validated.
    """
    problems = []
    for error in errors:
        path = ".".join(str(part) for part in (prefix, *error["loc"]) if part != "")
        problems.append(FieldProblem(field=path[:_MOST_ECHOED], message=_words(error)))
    return problems


def _words(error: Mapping[str, Any]) -> str:
    """Return pydantic's message, in the words of a request where it speaks of Python."""
    if error["type"] == "union_tag_invalid":
        return f"Should be one of {error['ctx']['expected_tags']}"
    return _MESSAGES.get(error["type"]) or str(error["msg"]).removeprefix("Value error, ")


def invalid_request(errors: list[FieldProblem], kind: ProblemKind = ProblemKind.INVALID_REQUEST) -> FaceterError:
    """Return one error that names every field at fault in its sentence too."""
    words = "; ".join(f"{error.field}: {error.message}" for error in errors[:3])
    more = f"; and {len(errors) - 3} more" if len(errors) > 3 else ""
    return FaceterError(kind, f"{words}{more}.", errors=errors)


def of_validation(error: RequestValidationError, content_type: str | None) -> FaceterError:
    """Return what FastAPI's validation found, as one of our errors.

    Args:
        error: What was raised.
        content_type: The request's, since a body of another type than JSON fails validation as a whole.
    """
    errors = error.errors()
    for found in errors:
        if found["type"] == "missing" and tuple(found["loc"]) == ("body",):
            return FaceterError(ProblemKind.INVALID_REQUEST, "There is no body; send a JSON object.", field="body")
        if found["type"] == "json_invalid":
            position = found["loc"][-1]
            reason = found.get("ctx", {}).get("error", "not JSON")
            return FaceterError(
                ProblemKind.MALFORMED_BODY, f"The body is not JSON: {reason} at character {position}.", field="body"
            )
        of_body = found["loc"][0] == "body" and (len(found["loc"]) == 1 or not isinstance(error.body, dict))
        if of_body and found["type"] != "missing" and not _is_json(content_type):
            return FaceterError(
                ProblemKind.UNSUPPORTED_MEDIA_TYPE,
                f"The body must be JSON with Content-Type: application/json, not {content_type or 'without a type'}.",
            )
    return invalid_request(field_problems([{**found, "loc": _place(found, error.body)} for found in errors]))


def _place(found: Mapping[str, Any], body: object) -> tuple[int | str, ...]:
    """Return where in a request something is wrong.

    Pydantic puts the kind of a body of several kinds before its fields, which is no field of the request.
    """
    where = tuple(found["loc"])
    if found["type"] in _OF_KIND:
        return (*where[1:], str(found["ctx"]["discriminator"]).strip("'"))
    if len(where) == 1:
        return where
    if where[0] == "body" and not isinstance(body, dict):
        return where[:1]
    nested = where[0] == "body" and len(where) > 2
    of_kind = nested and isinstance(body, dict) and (body.get("kind") == where[1] or where[1] not in body)
    return where[2:] if of_kind else where[1:]


def _is_json(content_type: str | None) -> bool:
    subtype = (content_type or "").split(";")[0].strip().lower()
    return subtype == "application/json" or subtype.endswith("+json")


def of_http(error: HTTPException, method: str, path: str, allowed: str = "") -> Problem:
    """Return what Starlette or FastAPI refused, as a problem document.

    Args:
        error: What was raised.
        method: The request's.
        path: The request's.
        allowed: The methods that the address takes, for a method it does not.
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
            detail = f"{path} does not take {method}, only {allowed}."
    return FaceterError(kind, detail).problem(path)


def install(app: FastAPI) -> None:
    """Answer every error of ``app``'s routes with a problem document."""

    @app.exception_handler(FaceterError)
    async def faceter_error(request: Request, error: FaceterError) -> Response:
        return error_response(error, request.url.path)

    @app.exception_handler(RequestValidationError)
    async def validation_error(request: Request, error: RequestValidationError) -> Response:
        return error_response(of_validation(error, request.headers.get("content-type")), request.url.path)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        path, headers = request.url.path, dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = ", ".join(_methods_of(app.openapi()["paths"], path))
        return problem_response(of_http(error, request.method, path, headers.get("Allow", "")), headers)


def _methods_of(templates: Mapping[str, Iterable[str]], path: str) -> list[str]:
    """Return the methods an address takes, as the OpenAPI document has them.

    The router that refused a method knows only the first of the routes at that address.
    """
    methods = {
        method.upper()
        for template, known in templates.items()
        if compile_path(template)[0].match(path)
        for method in known
    }
    return sorted(methods | {"HEAD"} if "GET" in methods else methods)


def documented(*kinds: ProblemKind) -> dict[int | str, dict[str, Any]]:
    """Return FastAPI's `responses` for an operation that can fail in these ways, an example of each.

    The kinds every operation shares (`INTERNAL_ERROR`, and `STORE_UNAVAILABLE` where Redis is asked) are for the
    caller to name too: what is listed is what can happen.
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
    """Return an example document of a kind."""
    return FaceterError(kind, f"{kind.title}.").problem("/v1/models").model_dump(mode="json")
