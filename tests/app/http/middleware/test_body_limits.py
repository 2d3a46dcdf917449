import socket
from collections.abc import Callable, Iterator

import httpx
import pytest

from faceter.contracts.errors import ProblemKind
from faceter.contracts.settings import Settings
from tests.app.http.test_problems import problem

LIMIT = 10_000


@pytest.fixture
def small(start_server: Callable[[Settings], httpx.Client], settings: Settings) -> httpx.Client:
    """An API with small limits."""
    names = ("max_model_bytes", "max_dataset_bytes", "max_predict_bytes", "max_json_bytes")
    return start_server(settings.model_copy(update=dict.fromkeys(names, LIMIT)))


def converse(api: httpx.Client, request: bytes) -> bytes:
    """Send raw bytes and return everything received until the server closes."""
    place = (api.base_url.host, api.base_url.port or 80)
    with socket.create_connection(place, timeout=10) as connection:
        connection.sendall(request)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    return answer


@pytest.mark.parametrize(
    "address",
    [
        "/v1/models",
        "/v1/datasets",
        "/v1/models/mdl_x/predict",
        "/v1/models/mdl_x/quantizations",
        "/v1/evaluations",
        "/v1/jobs/j/rerun",
    ],
)
def test_a_stated_length_over_the_limit_is_refused_before_the_body(small: httpx.Client, address: str) -> None:
    headers = f"POST {address} HTTP/1.1\r\nHost: x\r\nContent-Length: {10**12}\r\nExpect: 100-continue\r\n\r\n"
    answer = converse(small, headers.encode())
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"application/problem+json" in answer
    assert b"/problems/payload-too-large" in answer


def test_a_client_that_sends_the_whole_body_anyway_gets_the_response(small: httpx.Client) -> None:
    response = small.post("/v1/models/mdl_x/predict", content=bytes(4_000_000))
    assert "10,000 bytes" in problem(response, ProblemKind.PAYLOAD_TOO_LARGE).detail
    assert response.headers["connection"] == "close"


@pytest.mark.parametrize("address", ["/v1/models/mdl_x/quantizations", "/v1/models"])
def test_a_body_of_unknown_length_is_counted(small: httpx.Client, address: str) -> None:
    def endless() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(1000):
            yield bytes(1000)

    response = small.post(address, content=endless(), headers={"Content-Type": "multipart/form-data; boundary=b"})
    problem(response, ProblemKind.PAYLOAD_TOO_LARGE)
    assert response.headers["connection"] == "close"


def test_bodies_within_the_limit_are_read(small: httpx.Client) -> None:
    response = small.post("/v1/models/mdl_x/quantizations", json={"name": "n" * 9000})
    problem(response, ProblemKind.INVALID_REQUEST)


def test_the_server_continues_after_clients_disconnect(small: httpx.Client) -> None:
    with socket.create_connection((small.base_url.host, small.base_url.port or 80)) as connection:
        connection.sendall(
            b"POST /v1/models HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
            b"Content-Length: 5000\r\n\r\n--b\r\n"
        )
    assert small.get("/healthz").status_code == 200
    assert small.get("/v1/models").json()["items"] == []
