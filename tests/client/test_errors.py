"""Every class of errors, from real answers; and what their messages tell."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from app.main import create_app
from faceter import Client
from faceter.client.calls import failure
from faceter.client.errors import (
    Conflict,
    ConnectionFailed,
    DeadlineExceeded,
    FaceterApiError,
    InvalidRequest,
    JobCanceled,
    NotFound,
    Overloaded,
    ServiceFailed,
    UnexpectedAnswer,
)
from faceter.contracts.errors import Problem, ProblemKind
from faceter.contracts.settings import Settings
from faceter.store.library import Library
from tests.app.conftest import serving
from tests.app.uploads import METADATA
from tests.client.flaky_proxy import FlakyProxy
from tests.engines import graphs


def test_a_missing_resource(client: Client) -> None:
    with pytest.raises(NotFound, match="GET /v1/models lists the existing ones") as caught:
        client.models.get("mdl_00000000000000000000")
    error = caught.value
    assert error.kind is ProblemKind.NOT_FOUND
    assert error.problem.instance == "/v1/models/mdl_00000000000000000000"
    assert error.request_id
    for collection in (client.datasets, client.explanations, client.evaluations, client.analyses, client.translators):
        with pytest.raises(NotFound):
            collection.get("x")
        with pytest.raises(NotFound):
            collection.delete("x")
    with pytest.raises(NotFound):
        client.jobs.get("job_00000000000000000000")


def test_an_id_cannot_leave_its_collection(client: Client) -> None:
    with pytest.raises(NotFound):
        client.models.get("../datasets")


def test_invalid_fields_are_named(client: Client) -> None:
    model = client.models.upload(graphs.classifier())
    with pytest.raises(InvalidRequest, match="weight_bits") as caught:
        model.quantize(weight_bits=99)
    assert [error.field for error in caught.value.errors] == ["weight_bits"]
    with pytest.raises(InvalidRequest) as many:
        model.quantize(weight_bits=99, activation_bits=99, seed=-1, max_minutes=-1, max_steps=-1)
    assert all(f"- {error.field}: " in str(many.value) for error in many.value.errors)
    assert len(many.value.errors) == 5
    with pytest.raises(InvalidRequest, match="ONNX") as refused:
        client.models.upload(b"no model")
    assert refused.value.kind is ProblemKind.INVALID_MODEL


def test_what_the_state_of_a_resource_does_not_allow(client: Client) -> None:
    model = client.models.upload(graphs.classifier(), metadata=METADATA)
    job = model.quantize(weight_bits=4, method="rq")
    with pytest.raises(Conflict) as in_use:
        model.delete()
    assert in_use.value.kind is ProblemKind.RESOURCE_IN_USE
    assert job.id in str(in_use.value)
    with pytest.raises(Conflict) as running:
        job.rerun()
    assert running.value.kind is ProblemKind.JOB_NOT_ENDED
    job.cancel()
    with pytest.raises(Conflict) as ended:
        job.finish()
    assert ended.value.kind is ProblemKind.JOB_ENDED
    with pytest.raises(JobCanceled, match="was canceled"):
        job.result()
    model.delete()


def test_a_service_whose_store_is_away(service_settings: Settings) -> None:
    settings = service_settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    with serving(create_app(settings)) as url, Client(url, retries=0) as client, pytest.raises(Overloaded) as caught:
        client.models.upload(graphs.classifier())
    assert caught.value.kind is ProblemKind.STORE_UNAVAILABLE
    assert caught.value.retry_after is not None


def test_a_file_that_the_service_has_lost(client: Client, service_settings: Settings) -> None:
    model = client.models.upload(graphs.classifier(seed=77))
    with Library(service_settings) as library:
        library.blobs.delete(model.sha256)
    with pytest.raises(ServiceFailed, match=r"Request: ") as caught:
        model.graph()
    assert caught.value.kind is ProblemKind.BLOB_MISSING


def test_a_request_beyond_its_deadline(client: Client) -> None:
    model = client.models.upload(graphs.endless())
    with pytest.raises(DeadlineExceeded) as caught:
        model.predict({"times": 2**60}, deadline=0.2)
    assert caught.value.kind is ProblemKind.DEADLINE_EXCEEDED


@pytest.fixture
def silent() -> Iterator[str]:
    """Address of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    message = r"Tried 2 times.*faceter up.*FACETER_URL"
    with (
        Client(f"http://127.0.0.1:{port}", retries=1) as client,
        pytest.raises(ConnectionFailed, match=message) as caught,
    ):
        list(client.models.list())
    assert caught.value.problem.status == 0
    assert caught.value.kind is None
    assert isinstance(caught.value.__cause__, httpx.ConnectError)


def test_nobody_answers(silent: str) -> None:
    with Client(silent, timeout=0.2) as client, pytest.raises(ConnectionFailed, match="longer timeout"):
        list(client.models.list())


@contextmanager
def answering(raw: bytes) -> Iterator[str]:
    """Serve one connection with these bytes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(raw)

        thread = threading.Thread(target=answer)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        thread.join()


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "Check the address"),
        (b'HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{"items": 3}', "items"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 7\r\n\r\nno page", "no page"),
        (
            b"HTTP/1.1 301 Moved\r\nLocation: https://x.test/\r\nContent-Length: 0\r\n\r\n",
            "redirects to https://x.test/",
        ),
    ],
)
def test_another_server_is_told_from_the_service(raw: bytes, message: str) -> None:
    with answering(raw) as url, Client(url, retries=0) as client, pytest.raises(UnexpectedAnswer, match=message):
        list(client.models.list())


def test_what_a_gateway_answers_is_no_fault_of_the_request(proxy: FlakyProxy) -> None:
    proxy.fail("bad-gateway")
    with Client(proxy.url, retries=0) as client, pytest.raises(Overloaded, match="502"):
        list(client.models.list())


@pytest.mark.parametrize("kind", ProblemKind)
def test_every_kind_of_problem_has_a_class_and_is_known(kind: ProblemKind) -> None:
    problem = Problem(type=kind.type, title=kind.title, status=kind.status, detail="What to do.")
    request = httpx.Request("GET", "http://x.test/v1/models")
    error = failure(httpx.Response(kind.status, content=problem.model_dump_json(), request=request))
    assert type(error) is not FaceterApiError
    assert error.kind is kind
    assert error.problem == problem
    assert str(error) == "What to do."
