"""Deadlines of the Open Inference Protocol over HTTP, with the client of Triton as it is."""

import gzip
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from faceter.contracts.settings import Settings
from tests.app.http.routes.test_inference_clients import _KEPT, adding, tensor
from tests.app.uploads import add_model
from tests.engines import graphs

LIMITS = {"inference_seconds": 10, "inference_workers": 1}
TIMES = np.array(2**60, np.int64)


@pytest.fixture
def one_worker(start_server: Callable[[Settings], httpx.Client], settings: Settings) -> httpx.Client:
    return start_server(settings.model_copy(update=LIMITS))


@pytest.fixture
def client(one_worker: httpx.Client) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(one_worker.base_url.netloc.decode(), concurrency=4) as client:
        _KEPT.append(client)
        yield client


def endless(*, binary: bool = True) -> list[triton.InferInput]:
    return [tensor("times", TIMES, "INT64", binary=binary)]


def refused(call: Callable[[], Any]) -> tuple[str, str]:
    with pytest.raises(InferenceServerException) as caught:
        call()
    return str(caught.value.status()), str(caught.value.message())


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {"headers": {"X-Request-Timeout": "0.3"}},
        {"timeout": 300_000},
        {"timeout": 300_000, "headers": {"X-Request-Timeout": "9"}},
        {"timeout": 9_000_000, "headers": {"X-Request-Timeout": "0.3"}},
        {"timeout": 300_000, "request_compression_algorithm": "gzip"},
    ],
    ids=["header", "parameter", "both, the parameter first", "both, the header first", "compressed"],
)
def test_a_run_ends_at_its_deadline(
    one_worker: httpx.Client, client: triton.InferenceServerClient, options: dict[str, Any], *, binary: bool
) -> None:
    model = add_model(one_worker, graphs.endless(), metadata=None)["id"]
    began = time.perf_counter()
    options = deepcopy(options)  # the client adds a header to them
    status, message = refused(lambda: client.infer(model, endless(binary=binary), **options))
    assert status == "504"
    assert "within the 0.3 seconds it allowed: it was running" in message
    assert 0.25 < time.perf_counter() - began < 5
    quick = add_model(one_worker, graphs.adder(), metadata=None)["id"]
    began = time.perf_counter()
    assert client.infer(quick, adding(), timeout=30_000_000).as_numpy("sum").shape == (2, 2)
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize("options", [{"timeout": 200_000}, {"headers": {"X-Request-Timeout": "0.2"}}])
def test_a_request_that_waits_ends_at_its_deadline(
    one_worker: httpx.Client, client: triton.InferenceServerClient, options: dict[str, Any]
) -> None:
    slow = add_model(one_worker, graphs.endless(), metadata=None)["id"]
    quick = add_model(one_worker, graphs.adder(), metadata=None)["id"]
    with ThreadPoolExecutor(1) as pool:
        body = {"inputs": [{"name": "times", "datatype": "INT64", "shape": [], "data": [2**60]}]}
        headers = {"X-Request-Timeout": "1.5"}
        stuck = pool.submit(one_worker.post, f"/v2/models/{slow}/infer", json=body, headers=headers)
        time.sleep(0.3)
        began = time.perf_counter()
        status, message = refused(lambda: client.infer(quick, adding(), **options))
        assert time.perf_counter() - began < 1
        assert (status, "waiting" in message) == ("504", True)
        answer = stuck.result()
    assert (answer.status_code, list(answer.json())) == (504, ["error"])
    assert int(answer.headers["retry-after"]) >= 1
    assert 'faceter_predictions_refused_total{reason="deadline"} 2.0' in one_worker.get("/metrics").text


def test_json_that_is_large_has_its_deadline_from_when_it_was_queued(one_worker: httpx.Client) -> None:
    slow = add_model(one_worker, graphs.endless(), metadata=None)["id"]
    document = {
        "id": "x" * 2_000_000,
        "inputs": [{"name": "times", "datatype": "INT64", "shape": [], "data": [2**60]}],
        "parameters": {"timeout": 400_000},
    }
    content = json.dumps(document).encode()
    for headers, body in (({}, content), ({"Content-Encoding": "gzip"}, gzip.compress(content))):
        began = time.perf_counter()
        answer = one_worker.post(f"/v2/models/{slow}/infer", content=body, headers=headers)
        assert answer.status_code == 504
        assert "within the 0.4 seconds" in answer.json()["error"]
        assert time.perf_counter() - began < 5


@pytest.mark.parametrize("timeout", ["0", "-1", "soon", "1e9", "nan"])
def test_a_header_that_is_no_time_is_refused(api: httpx.Client, timeout: str) -> None:
    id = add_model(api, graphs.adder(), metadata=None)["id"]
    for path in (f"/v2/models/{id}/infer", f"/v2/models/{id}/versions/1/infer"):
        answer = api.post(path, json={"inputs": []}, headers={"X-Request-Timeout": timeout})
        assert answer.status_code == 400
        assert "x-request-timeout" in answer.json()["error"].lower()


@pytest.mark.parametrize("timeout", [-1, 0.5, "100", True, [], None, 0, 2**63])
def test_a_parameter_that_is_no_time_is_refused_and_none_is_none(api: httpx.Client, timeout: Any) -> None:
    id = add_model(api, graphs.adder(), metadata=None)["id"]
    inputs = [{"name": name, "datatype": "FP32", "shape": [1, 2], "data": [1, 2]} for name in ("a", "b")]
    content = json.dumps({"inputs": inputs, "parameters": {"timeout": timeout}}).encode()
    valid = timeout is None or (type(timeout) is int and timeout >= 0)
    for headers, body in (({}, content), ({"Content-Encoding": "gzip"}, gzip.compress(content))):
        answer = api.post(f"/v2/models/{id}/infer", content=body, headers=headers)
        assert answer.status_code == (200 if valid else 400)
        assert valid or "microseconds" in answer.json()["error"]


def test_a_body_that_cannot_be_read_is_refused_as_before(api: httpx.Client) -> None:
    id = add_model(api, graphs.adder(), metadata=None)["id"]
    for content, words in ((b"", "not JSON"), (b"[]", "body"), (b'{"parameters": 1}', "parameters")):
        answer = api.post(f"/v2/models/{id}/infer", content=content)
        assert answer.status_code == 400
        assert words in answer.json()["error"]
    for length in ("x", "-1", "99", "9" * 5000, "\N{ARABIC-INDIC DIGIT ONE}"):
        headers = {b"Inference-Header-Content-Length": length.encode()}
        answer = api.post(f"/v2/models/{id}/infer", content=b"{}", headers=headers)
        assert "Inference-Header-Content-Length" in answer.json()["error"]
