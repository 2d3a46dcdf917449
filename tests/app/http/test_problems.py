import json
from collections.abc import Iterator

import httpx
import pytest
import structlog
from fastapi import FastAPI

from app.main import create_app
from faceter.contracts.errors import FaceterError, Problem, ProblemKind
from faceter.contracts.settings import Settings
from tests.app.conftest import serving
from tests.workers.processes import eventually


def problem(response: httpx.Response, kind: ProblemKind) -> Problem:
    """Return the problem document of a response, after checking the required fields."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    document = Problem.model_validate_json(response.text)
    assert (document.type, document.title) == (kind.type, kind.title), document
    assert response.status_code == document.status == kind.status
    assert document.instance == response.request.url.path
    assert len(document.detail) > 10
    assert response.headers["x-request-id"]
    return document


def test_unknown_address(api: httpx.Client) -> None:
    assert "/v1/nothing" in problem(api.get("/v1/nothing"), ProblemKind.NOT_FOUND).detail
    problem(api.get("/v1/models/"), ProblemKind.NOT_FOUND)


def test_wrong_method_says_which_is_right(api: httpx.Client) -> None:
    response = api.put("/v1/models")
    document = problem(response, ProblemKind.METHOD_NOT_ALLOWED)
    assert "PUT" in document.detail
    assert response.headers["allow"] == "GET, HEAD, POST"
    assert response.headers["allow"] in document.detail
    assert api.put("/v1/models/mdl_x").headers["allow"] == "DELETE, GET, HEAD"
    assert api.get("/v1/models/mdl_x/predict").headers["allow"] == "POST"


@pytest.mark.parametrize(
    "address", ["/v1/models", "/healthz", "/openapi.json", "/problems/not-found", "/v1/jobs/job_x"]
)
def test_head_is_answered_as_get_without_the_body(api: httpx.Client, address: str) -> None:
    head_response, get_response = api.head(address), api.get(address)
    assert head_response.status_code == get_response.status_code
    assert head_response.content == b""
    for header in ("content-type", "content-length"):
        assert head_response.headers[header] == get_response.headers[header]


def test_the_root_redirects_to_the_documentation(api: httpx.Client) -> None:
    assert "swagger" in api.get("/", follow_redirects=True).text


def test_unserializable_errors_get_a_response(api: httpx.Client) -> None:
    body, headers = rb'{"\ud800": 1}', {"Content-Type": "application/json"}
    problem(api.post("/v1/models/mdl_x/quantizations", content=body, headers=headers), ProblemKind.INVALID_REQUEST)


def test_a_missing_body(api: httpx.Client) -> None:
    document = problem(api.post("/v1/models/mdl_x/quantizations"), ProblemKind.INVALID_REQUEST)
    assert "send a JSON object" in document.detail


def test_a_long_id_is_truncated_in_the_error(api: httpx.Client) -> None:
    for collection in ("models", "datasets", "jobs"):
        detail = problem(api.get(f"/v1/{collection}/{'a' * 3000}"), ProblemKind.NOT_FOUND).detail
        assert len(detail) < 400


def test_no_control_character_reaches_the_log(api: httpx.Client) -> None:
    with structlog.testing.capture_logs() as logs:
        api.get("/v1/models/%1b[31m%00%0d%0a%F0%9F%98%80")
        eventually(lambda: logs)
    (path,) = [line["path"] for line in logs]
    assert path == "/v1/models/%1B%5B31m%00%0D%0A%F0%9F%98%80"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=many", "limit"),
        ("cursor=nonsense", "cursor"),
        ("cursor=MTox%00", "cursor"),
        ("task=cooking", "task"),
        ("quantized=perhaps", "quantized"),
        ("limt=5", "limt"),
    ],
)
def test_bad_queries_name_the_field(api: httpx.Client, query: str, field: str) -> None:
    document = problem(api.get(f"/v1/models?{query}"), ProblemKind.INVALID_REQUEST)
    assert [error.field for error in document.errors] == [field]
    assert field in document.detail or document.detail == document.errors[0].message
    assert "inputs are not permitted" not in document.detail


@pytest.mark.parametrize("address", ["/v1/datasets", "/v1/jobs"])
def test_bad_pages_of_the_other_lists(api: httpx.Client, address: str) -> None:
    problem(api.get(f"{address}?limit=0"), ProblemKind.INVALID_REQUEST)
    problem(api.get(f"{address}?cursor=%F0%9F%92%A9"), ProblemKind.INVALID_REQUEST)
    problem(api.get(f"{address}?colour=red"), ProblemKind.INVALID_REQUEST)


def test_malformed_json(api: httpx.Client) -> None:
    address = "/v1/models/mdl_x/quantizations"
    for body in (b'{"method": ', b"\xff\xfe", b"[" * 100_000):
        problem(
            api.post(address, content=body, headers={"Content-Type": "application/json"}), ProblemKind.MALFORMED_BODY
        )


def test_json_of_another_type(api: httpx.Client) -> None:
    for headers in ({"Content-Type": "text/plain"}, {}):
        response = api.post("/v1/models/mdl_x/quantizations", content=b"{}", headers=headers)
        problem(response, ProblemKind.UNSUPPORTED_MEDIA_TYPE)


def test_body_fields_by_their_path(api: httpx.Client) -> None:
    body = {"method": "magic", "weight_bits": 1, "activation_bits": 9, "weight_granularity": "row", "seed": -1, "x": 0}
    document = problem(api.post("/v1/models/mdl_x/quantizations", json=body), ProblemKind.INVALID_REQUEST)
    assert {error.field for error in document.errors} == set(body)


def test_a_list_instead_of_an_object(api: httpx.Client) -> None:
    document = problem(api.post("/v1/models/mdl_x/quantizations", json=[]), ProblemKind.INVALID_REQUEST)
    assert [error.field for error in document.errors] == ["body"]


def test_every_kind_has_a_page(api: httpx.Client) -> None:
    listed = {item["type"] for item in api.get("/problems").json()["items"]}
    assert listed == {kind.type for kind in ProblemKind}
    for kind in ProblemKind:
        page = api.get(kind.type).json()
        assert (page["type"], page["title"], page["status"]) == (kind.type, kind.title, kind.status)
        readable = api.get(kind.type, headers={"Accept": "text/html,*/*"})
        assert readable.headers["content-type"].startswith("text/html")
        assert kind.value.slug in readable.text
    problem(api.get("/problems/boredom"), ProblemKind.NOT_FOUND)


@pytest.fixture
def faulty(settings: Settings) -> Iterator[httpx.Client]:
    """A client of an API with failing routes."""
    app: FastAPI = create_app(settings)

    @app.get("/defect")
    def defect() -> None:
        raise RuntimeError("the password is swordfish")

    @app.get("/busy")
    def busy() -> None:
        raise FaceterError(ProblemKind.OVERLOADED, "Come back later.", retry_after=7, queue=3)

    with serving(app) as url, httpx.Client(base_url=url) as client:
        yield client


def test_an_internal_error_does_not_reveal_its_cause(faulty: httpx.Client) -> None:
    response = faulty.get("/defect")
    problem(response, ProblemKind.INTERNAL_ERROR)
    assert "swordfish" not in response.text
    assert "RuntimeError" not in response.text
    problem(faulty.get("/defect"), ProblemKind.INTERNAL_ERROR)


def test_retry_after_and_extension_members(faulty: httpx.Client) -> None:
    response = faulty.get("/busy")
    problem(response, ProblemKind.OVERLOADED)
    assert response.headers["retry-after"] == "7"
    assert json.loads(response.text)["queue"] == 3


def test_request_ids(api: httpx.Client) -> None:
    assert api.get("/healthz", headers={"X-Request-ID": "mine-1"}).headers["x-request-id"] == "mine-1"
    strange = api.get("/healthz", headers={"X-Request-ID": "a b\tc" * 100}).headers["x-request-id"]
    assert len(strange) == 32
    assert strange != api.get("/healthz").headers["x-request-id"]
