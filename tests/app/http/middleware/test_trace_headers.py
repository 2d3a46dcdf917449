"""`traceparent` of requests and responses, without OpenTelemetry."""

import httpx
import pytest

from tests.app.uploads import add_model
from tests.engines import graphs

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
BODY = {"inputs": {"a": [[1, 2]], "b": [[3, 4]]}}


def parts(response: httpx.Response) -> tuple[str, str, str]:
    """Return trace, span and flags of a response."""
    version, trace, span, flags = response.headers["traceparent"].split("-")
    assert (version, len(trace), len(span)) == ("00", 32, 16)
    return trace, span, flags


@pytest.mark.parametrize("flags", ["00", "01"])
def test_without_opentelemetry_a_response_continues_the_trace(api: httpx.Client, flags: str) -> None:
    sent = {"traceparent": f"00-{TRACE}-{SPAN}-{flags}", "tracestate": "a=1"}
    spans = set()
    for path in ("/v1/models", "/v1/models/mdl_x", "/nowhere", "/healthz", "/v2/models/mdl_x"):
        trace, span, answered = parts(api.get(path, headers=sent))
        assert (trace, answered) == (TRACE, flags)
        spans.add(span)
    assert len(spans - {SPAN}) == 5


@pytest.mark.parametrize(
    "headers",
    [{}, {"traceparent": ""}, {"traceparent": f"00-{TRACE}-{'0' * 16}-01"}, {"traceparent": f"ff-{TRACE}-{SPAN}-01"}],
)
def test_without_a_valid_parent_a_trace_begins(api: httpx.Client, headers: dict[str, str]) -> None:
    first, second = (parts(api.get("/v1/models", headers=headers)) for _ in range(2))
    assert len({first[0], second[0], TRACE}) == 3
    assert first[2] == "00"


def test_predictions_too_which_no_route_answers(api: httpx.Client) -> None:
    address = f"/v1/models/{add_model(api, graphs.adder(), metadata=None)['id']}/predict"
    answered = api.post(address, json=BODY, headers=SAMPLED)
    assert answered.status_code == 200
    assert parts(answered)[::2] == (TRACE, "01")
    assert parts(api.post(address, json={}, headers=SAMPLED))[0] == TRACE


def test_two_parents_are_none(api: httpx.Client) -> None:
    answered = api.get("/v1/models", headers=[("traceparent", SAMPLED["traceparent"])] * 2)
    assert parts(answered)[0] != TRACE
