"""Descriptions of HTTP calls, and what follows from their answers; nothing here sends anything."""

import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any, Final, Protocol, TypeVar, runtime_checkable

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from faceter.client.configuration import Configuration
from faceter.client.errors import ConnectionFailed, FaceterApiError, UnexpectedAnswer, error_of, made_up
from faceter.client.files import FilePart
from faceter.contracts.errors import Problem, ProblemKind

T = TypeVar("T")

_MOST_SHOWN: Final = 300
_RETRIED: Final = (429, 502, 503)
_RETRIED_KINDS: Final = (ProblemKind.IDEMPOTENCY_IN_PROGRESS.type,)
_NEVER_CONNECTED: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_GAVE_UP_WAITING: Final = (httpx.ReadTimeout, httpx.WriteTimeout)


@runtime_checkable
class HasId(Protocol):
    """A record, a summary, or anything else with the id of a resource."""

    @property
    def id(self) -> str:
        """The id."""
        ...


Id = str | HasId
"""A resource, or its id."""


def id_of(resource: Id) -> str:
    """Return the id of a resource.

    Raises:
        TypeError: If it is neither an id nor has one.
    """
    if isinstance(resource, str):
        return resource
    if isinstance(getattr(resource, "id", None), str):
        return resource.id
    raise TypeError(f"A resource of the service or its id is needed, not {type(resource).__name__}.")


def fields_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a request as JSON values: resources as ids, contracts as objects; None is left out."""
    return {name: _json(value) for name, value in fields.items() if value is not None}


def _json(value: Any) -> Any:
    if isinstance(value, HasId) and not isinstance(value, str):
        return id_of(value)
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_unset=True)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(_json(key)): _json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_json(item) for item in value]
    return value


@dataclass(frozen=True)
class ApiCall:
    """A request to send.

    Attributes:
        method: GET, POST or DELETE.
        path: Below the address of the service.
        query: Parameters; None is left out.
        json: Body, as JSON.
        form: Text fields of a form, which is sent if this or `files` is given.
        files: Files of the form.
        headers: Further headers.
        creates: Whether it creates a resource: it gets an `Idempotency-Key`, by which sending it again is safe.
        repeatable: Whether it may be sent again although the service may have done it.
    """

    method: str
    path: str
    query: Mapping[str, Any] = field(default_factory=dict)
    json: Any = None
    form: Mapping[str, str] | None = None
    files: tuple[FilePart, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    creates: bool = False
    repeatable: bool = True

    def all_headers(self) -> dict[str, str]:
        """Return the headers, with a new idempotency key if it creates something; equal for every attempt."""
        return {**self.headers, "Idempotency-Key": str(uuid.uuid4())} if self.creates else dict(self.headers)

    @contextmanager
    def opened(self) -> Iterator[dict[str, Any]]:
        """Open the files from their beginning; yields the keyword arguments of httpx for one attempt."""
        with ExitStack() as stack:
            arguments: dict[str, Any] = {"params": {name: _query(value) for name, value in _given(self.query)}}
            if self.json is not None:
                arguments["json"] = self.json
            if self.form is not None or self.files:
                arguments["data"] = dict(self.form or {})
                arguments["files"] = [
                    (part.field, (part.filename, stack.enter_context(part.opened()), part.media_type))
                    for part in self.files
                ]
            yield arguments


def _given(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((name, value) for name, value in values.items() if value is not None)


def _query(value: Any) -> Any:
    value = _json(value)
    return str(value).lower() if isinstance(value, bool) else value


def parsed(type_: type[T] | TypeAdapter[T], response: httpx.Response) -> T:
    """Return the answer as a contract. Fields that this version does not know are ignored.

    Raises:
        UnexpectedAnswer: If it is none.
    """
    adapter: TypeAdapter[T] = type_ if isinstance(type_, TypeAdapter) else TypeAdapter(type_)
    try:
        return adapter.validate_json(response.content, extra="ignore")
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        reason = f"{place}: {first['msg']}" if place else first["msg"]
        raise unexpected(response, reason) from error


def unexpected(response: httpx.Response, reason: str) -> UnexpectedAnswer:
    """Return the error for an answer that is not of this service."""
    detail = (
        f"{response.request.method} {response.request.url} answered {response.status_code}, but not as Faceter does "
        f"({reason}). Check the address; if it is right, use a client of the service's version."
    )
    return UnexpectedAnswer(made_up("The answer cannot be read", detail, response.status_code))


def failure(response: httpx.Response) -> FaceterApiError:
    """Return the error for an answer other than a success, whose content was read."""
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        if response.status_code < 400:
            target = response.headers.get("location", "elsewhere")
            return unexpected(response, f"it redirects to {target}")
        if response.status_code not in _RETRIED:
            return unexpected(response, response.text[:_MOST_SHOWN].strip() or response.reason_phrase)
        detail = f"Something before the service answered {response.status_code} {response.reason_phrase}."
        problem = made_up(response.reason_phrase, detail, response.status_code)
    return error_of(
        problem,
        request_id=response.headers.get("x-request-id"),
        retry_after=retry_after(response.headers.get("retry-after")),
    )


def retry_after(value: str | None) -> float | None:
    """Return a `Retry-After` header, a number or a date, in seconds from now; None without a valid one."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (moment - datetime.now(UTC)).total_seconds()) if moment.tzinfo else None


def pause_before_retry(
    configuration: Configuration, call: ApiCall, failures: int, error: httpx.RequestError | FaceterApiError
) -> float:
    """Return the seconds after which to send a call again that failed.

    Raises:
        FaceterApiError: If it is not to be sent again, or was sent often enough.
    """
    if isinstance(error, FaceterApiError):
        again = error.problem.status in _RETRIED or error.problem.type in _RETRIED_KINDS
    elif isinstance(error, _NEVER_CONNECTED):
        again = True
    else:
        again = call.repeatable and isinstance(error, (httpx.NetworkError, httpx.RemoteProtocolError))
    pause = configuration.policy.pause(failures, getattr(error, "retry_after", None)) if again else None
    if pause is not None:
        return pause
    if isinstance(error, FaceterApiError):
        raise error
    raise connection_failed(configuration.url, error, failures) from error


def connection_failed(url: str, error: httpx.RequestError, attempts: int) -> ConnectionFailed:
    """Return the error for a call without an answer."""
    tried = f" Tried {attempts} times." if attempts > 1 else ""
    reason = str(error) or type(error).__name__
    if isinstance(error, _GAVE_UP_WAITING):
        detail = f"The service at {url} did not answer in time. Give the client a longer timeout."
    else:
        detail = (
            f"The service at {url} cannot be reached ({reason}).{tried} Start it with `faceter up`, or name another "
            "address: Client(url), or the variable FACETER_URL."
        )
    return ConnectionFailed(made_up("The service cannot be reached", detail))
