"""Every error as an RFC 9457 problem document, and how the OpenAPI page lists them."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from faceter.contracts.errors import FaceterError, FieldProblem, Problem, ProblemKind

MEDIA_TYPE: Final = "application/problem+json"

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
    return Response(problem.model_dump_json(), problem.status, headers, MEDIA_TYPE)


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
        message = str(error["msg"]).removeprefix("Value error, ")
        problems.append(FieldProblem(field=path, message=message))
    return problems


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
        if found["type"] == "json_invalid":
            position = found["loc"][-1]
            reason = found.get("ctx", {}).get("error", "not JSON")
            return FaceterError(
                ProblemKind.MALFORMED_BODY, f"The body is not JSON: {reason} at character {position}.", field="body"
            )
        if tuple(found["loc"]) == ("body",) and found["type"] != "missing" and not _is_json(content_type):
            return FaceterError(
                ProblemKind.UNSUPPORTED_MEDIA_TYPE,
                f"The body must be JSON with Content-Type: application/json, not {content_type or 'without a type'}.",
            )
    located = [
        {"loc": found["loc"][1:] if len(found["loc"]) > 1 else found["loc"], "msg": found["msg"]} for found in errors
    ]
    return invalid_request(field_problems(located))


def _is_json(content_type: str | None) -> bool:
    subtype = (content_type or "").split(";")[0].strip().lower()
    return subtype == "application/json" or subtype.endswith("+json")


def of_http(error: HTTPException, method: str, path: str) -> Problem:
    """Return what Starlette or FastAPI refused, as a problem document."""
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
            allowed = (error.headers or {}).get("Allow", "")
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
        return problem_response(of_http(error, request.method, request.url.path), error.headers)


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
        if status in (409, 429, 503):
            responses[status]["headers"] = {
                "Retry-After": {"description": "Seconds to wait before trying again.", "schema": {"type": "integer"}}
            }
    return responses


def example(kind: ProblemKind) -> dict[str, Any]:
    """Return an example document of a kind."""
    return FaceterError(kind, f"{kind.title}.").problem("/v1/models").model_dump(mode="json")
