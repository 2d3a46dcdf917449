"""Requests made by schemathesis from the OpenAPI document, valid by it and invalid; answers must be as it says."""

import random
import time
from collections.abc import Callable
from typing import Any, Final

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.core.failures import AcceptedNegativeData, Failure, FailureGroup
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from tests.app.uploads import image, images
from tests.engines import graphs
from tests.fuzz.outcome import FuzzOutcome
from tests.fuzz.service import REQUEST_SECONDS, FuzzedService, RealIds

Operation = APIOperation[Any, Any, Any, Any]
AnyCase = Case[Any]

_CHECKS: Final = [
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
_SERVER_ERROR: Final = 500
_REFUSED: Final = (400, 422)
_REAL_SHARE: Final = 0.8
"""Of ids that are replaced by those of resources that exist."""
_UNHEALTHY: Final = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


def fuzz_endpoints(
    service: FuzzedService, outcome: FuzzOutcome, *, examples: int, seeded: int, until: float = float("inf")
) -> None:
    """Send requests to every operation of the OpenAPI document, those that delete last.

    Args:
        service: Where to.
        outcome: What to add to.
        examples: Requests to each operation, and as many that are invalid.
        seeded: Seed of all choices.
        until: When to stop, by the monotonic clock.
    """
    document = service.client.get("/openapi.json").json()
    files = st.sampled_from([graphs.classifier(), image(), images(["cat", "dog"]), b"", b"abc"])
    schemathesis.openapi.format("binary", files)
    schemathesis.openapi.media_type("image/*", st.sampled_from([image(form=form) for form in ("PNG", "JPEG", "WEBP")]))
    schema = schemathesis.openapi.from_dict(document, config=schemathesis.Config(seed=seeded))
    operations = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
    ids = RealIds(service)
    with requests.Session() as session:
        for operation in sorted(operations, key=lambda operation: operation.method == "delete"):
            described = document["paths"][operation.path][operation.method]
            for mode in [GenerationMode.POSITIVE, *[GenerationMode.NEGATIVE] * _can_be_invalid(described)]:
                if time.monotonic() < until:
                    sender = _Sender(service, outcome, ids, session, random.Random(seeded))
                    sender.send(operation, mode, examples, seeded)


class _Sender:
    def __init__(
        self,
        service: FuzzedService,
        outcome: FuzzOutcome,
        ids: RealIds,
        session: requests.Session,
        chooser: random.Random,
    ) -> None:
        self._service, self._outcome, self._ids, self._session, self._chooser = service, outcome, ids, session, chooser

    def send(self, operation: Operation, mode: GenerationMode, examples: int, seeded: int) -> None:
        """Send requests to an operation."""

        @seed(seeded)
        @settings(
            max_examples=examples,
            phases=[Phase.generate],
            database=None,
            deadline=None,
            suppress_health_check=_UNHEALTHY,
        )
        @given(operation.as_strategy(generation_mode=mode))
        def each(case: AnyCase) -> None:
            self._send(operation.label, case, mode)

        run: Callable[[], None] = each
        try:
            run()
        except Unsatisfiable:
            """Nothing is invalid for this operation."""

    def _send(self, label: str, case: AnyCase, mode: GenerationMode) -> None:
        case.path_parameters = self._with_real_ids(case.path_parameters)
        case.query = self._with_real_ids(case.query)
        if isinstance(case.body, dict):
            case.body = self._with_real_ids(case.body)
        try:
            response = case.call(self._service.url, self._session, timeout=REQUEST_SECONDS)
        except requests.RequestException as error:
            self._outcome.count(label, "no answer")
            self._outcome.fault(f"{label}: {type(error).__name__}", f"{error}\n{case.as_curl_command()}")
            return
        valid = mode.is_positive
        self._outcome.count(label, response.status_code if valid else f"{response.status_code} of invalid")
        if response.status_code >= _SERVER_ERROR and not _is_honest(label, case, response.status_code):
            self._outcome.fault(f"{label}: {response.status_code}", f"{case.as_curl_command()}\n{response.text[:500]}")
        if valid and response.status_code in _REFUSED:
            self._outcome.refusal(label, str(response.json().get("detail", response.text)))
        try:
            case.validate_response(response, checks=list(_CHECKS))
        except FailureGroup as group:
            for failure in group.exceptions:
                if not (isinstance(failure, AcceptedNegativeData) and _is_valid(case)):
                    self._note(label, failure, case, response.text)

    def _note(self, label: str, failure: Exception, case: AnyCase, text: str) -> None:
        title = failure.title if isinstance(failure, Failure) else type(failure).__name__
        self._outcome.fault(f"{label}: {title}", f"{failure}\n{case.as_curl_command()}\n{text[:500]}")

    def _with_real_ids(self, value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            return {key: self._with_real_ids(item, key) for key, item in value.items()}
        if isinstance(value, list):
            return [self._with_real_ids(item, name) for item in value]
        real = self._ids.get(name, self._chooser) if isinstance(value, str) else None
        return real if real is not None and self._chooser.random() < _REAL_SHARE else value


def _can_be_invalid(described: dict[str, Any]) -> bool:
    """Return whether an operation takes more than texts, each of which is valid."""
    schemas = [parameter["schema"] for parameter in described.get("parameters", [])]
    limited = [schema for schema in schemas if schema.get("type") != "string" or "pattern" in schema]
    return "requestBody" in described or bool(limited)


def _is_honest(label: str, case: AnyCase, status: int) -> bool:
    """Return whether a status is the honest answer: no worker is there, or the request allowed no time."""
    timed = case.headers is not None and "X-Request-Timeout" in case.headers
    return (label, status) == ("GET /readyz", 503) or (status == requests.codes.gateway_timeout and timed)


def _is_valid(case: AnyCase) -> bool:
    """Return whether a request that was to be invalid is valid as it was sent: a form has neither null nor numbers."""
    return str(case.media_type).startswith("multipart/")
