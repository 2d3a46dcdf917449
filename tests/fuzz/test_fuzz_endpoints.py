"""A short run over every operation of the OpenAPI document. `python -m tests.fuzz` runs longer."""

import pytest

from tests.app.http.openapi_document import operations
from tests.fuzz.endpoints import fuzz_endpoints
from tests.fuzz.outcome import FuzzOutcome
from tests.fuzz.service import FuzzedService

pytestmark = pytest.mark.end_to_end


def test_every_operation_answers_as_documented(service: FuzzedService) -> None:
    outcome = FuzzOutcome()
    fuzz_endpoints(service, outcome, examples=4, seeded=3)
    outcome.end(service)
    report = "\n".join(outcome.lines())
    assert outcome.faults == {}, report
    documented = {name for name, _ in operations(service.client.get("/openapi.json").json())}
    assert {operation for operation, _ in outcome.answers} == documented, report
