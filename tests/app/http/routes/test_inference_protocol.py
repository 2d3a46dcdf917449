"""The Open Inference Protocol over HTTP, byte by byte."""

import gzip
import json
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

import httpx
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from app.services.predictions.pool import InferencePool
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.settings import Settings
from tests.app.echo_models import echo
from tests.app.http.test_mutations import damaged
from tests.app.uploads import add_model
from tests.engines import graphs

ONE = {"name": "a", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}
OTHER = {"name": "b", "datatype": "FP32", "shape": [1, 2], "data": [[10, 20]]}


@pytest.fixture
def address(api: httpx.Client) -> str:
    return f"/v2/models/{add_model(api, graphs.adder(), metadata=None)['id']}/infer"


def failure(response: httpx.Response, status: int) -> str:
    """Return the error of a response, after checking its form."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]
    document = response.json()
    assert list(document) == ["error"]
    return str(document["error"])


def framed(document: object, *tensors: bytes) -> dict[str, Any]:
    """Return content and headers of a request with binary tensors."""
    text = json.dumps(document).encode()
    headers = {"Inference-Header-Content-Length": str(len(text))}
    return {"content": text + b"".join(tensors), "headers": headers}


def binary(name: str, size: int, **more: Any) -> dict[str, Any]:
    return {"name": name, "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": size}, **more}


def test_json_in_and_out(api: httpx.Client, address: str) -> None:
    response = api.post(address, json={"id": "7", "inputs": [ONE, OTHER], "unknown": 1})
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {
        "model_name": address.split("/")[3],
        "model_version": "1",
        "id": "7",
        "outputs": [{"name": "sum", "datatype": "FP32", "shape": [1, 2], "data": [11, 22]}],
    }
    assert api.post(address.replace("/infer", "/versions/1/infer"), json={"inputs": [ONE, OTHER]}).status_code == 200


@pytest.mark.parametrize("gap", range(8))
def test_binary_tensors_at_any_place(api: httpx.Client, address: str, gap: int) -> None:
    sent = np.array([1, np.nan], np.float32)
    document = {
        "id": "." * gap,
        "inputs": [OTHER, binary("a", 8)],
        "parameters": {"binary_data_output": True},
    }
    response = api.post(address, **framed(document, sent.tobytes()))
    assert response.headers["content-type"] == "application/octet-stream"
    length = int(response.headers["inference-header-content-length"])
    (output,) = json.loads(response.content[:length])["outputs"]
    assert output == {"name": "sum", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}}
    np.testing.assert_array_equal(np.frombuffer(response.content[length:], np.float32), np.add(sent, [10, 20]))


def test_an_output_decides_over_the_request(api: httpx.Client, address: str) -> None:
    outputs = [{"name": "sum", "parameters": {"binary_data": False}}]
    document = {"inputs": [ONE, OTHER], "outputs": outputs, "parameters": {"binary_data_output": True}}
    assert api.post(address, json=document).json()["outputs"][0]["data"] == [11, 22]


def test_numbers_that_are_not_finite_are_null_in_json(api: httpx.Client, address: str) -> None:
    sent = np.array([np.inf, np.nan], np.float32).tobytes()
    response = api.post(address, **framed({"inputs": [OTHER, binary("a", 8)]}, sent))
    assert response.json()["outputs"][0]["data"] == [None, None]


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"content": b"{"}, "not JSON"),
        ({"content": b""}, "not JSON"),
        ({"content": b"[]"}, "Should be a JSON object"),
        ({"content": b"{}"}, "inputs: This is required"),
        ({"content": b'{"inputs": [{"name": "a"}]}'}, "inputs.0.datatype: This is required"),
        ({"content": b'{"inputs": [{"name": "a", "datatype": "FP32", "shape": ["x"]}]}'}, "inputs.0.shape.0"),
        ({"content": b'{"inputs": [NaN]}'}, "binary"),
        ({"json": {"inputs": []}}, "'a' is missing"),
        ({"json": {"inputs": [ONE, ONE, OTHER]}}, "'a' is there twice"),
        ({"json": {"inputs": [ONE, {**OTHER, "data": None}]}}, "'b' has neither `data` nor `binary_data_size`"),
        ({"json": {"inputs": [ONE, {**OTHER, "data": [1]}]}}, "'b' has 1 elements"),
        ({"json": {"inputs": [ONE, {**OTHER, "data": [[1], [2, 3]]}]}}, "'b' is ragged"),
        ({"json": {"inputs": [ONE, {**OTHER, "data": ["x", "y"]}]}}, "'b' takes numbers"),
        ({"json": {"inputs": [ONE, {**OTHER, "shape": [2]}]}}, "'b' has shape [2]"),
        ({"json": {"inputs": [ONE, {**OTHER, "datatype": "FLOAT"}]}}, "takes FP32, not 'FLOAT'"),
        ({"json": {"inputs": [ONE, OTHER], "outputs": [{"name": "c"}]}}, "no output tensor 'c'"),
        ({"json": {"inputs": [ONE, OTHER], "outputs": [{"name": "sum"}] * 2}}, "asked for twice"),
        (
            {"json": {"inputs": [ONE, OTHER], "outputs": [{"name": "sum", "parameters": {"classification": "x"}}]}},
            "`classification`",
        ),
        (framed({"inputs": [ONE, binary("b", 8)]}, bytes(7)), "the body has 7 left"),
        (framed({"inputs": [ONE, binary("b", 8)]}, bytes(9)), "1 bytes more"),
        (framed({"inputs": [ONE, binary("b", 4)]}, bytes(4)), "'b' has 4 bytes; FP32 of shape [1, 2] needs 8"),
        (framed({"inputs": [ONE, binary("b", 8, data=[1, 2])]}, bytes(8)), "both"),
        (framed({"inputs": [ONE, binary("b", -8)]}, bytes(8)), "number of bytes"),
        ({"json": {"inputs": [ONE, OTHER]}, "headers": {"Inference-Header-Content-Length": "x"}}, "'x'"),
        ({"json": {"inputs": [ONE, OTHER]}, "headers": {"Inference-Header-Content-Length": "9999"}}, "'9999'"),
        ({"json": {"inputs": [ONE, OTHER]}, "headers": {"Inference-Header-Content-Length": "0"}}, "'0'"),
        ({"content": b"{}", "headers": {"Content-Encoding": "gzip"}}, "not in the format of gzip"),
    ],
)
def test_bad_requests(api: httpx.Client, address: str, request_: dict[str, Any], words: str) -> None:
    assert words in failure(api.post(address, **request_), 400)


def test_damaged_requests_are_answered_or_refused(api: httpx.Client, address: str) -> None:
    """Seeded: bytes are changed, removed and inserted."""
    random = Random(0)
    request_ = framed({"inputs": [ONE, binary("b", 8)], "outputs": [{"name": "sum"}]}, bytes(8))
    for _ in range(150):
        headers = request_["headers"] if random.random() < 0.8 else {"Content-Encoding": "gzip"}
        body = damaged(request_["content"], random)
        packed = gzip.compress(body) if "Content-Encoding" in headers else body
        response = api.post(
            address, content=damaged(packed, random) if random.random() < 0.3 else packed, headers=headers
        )
        if response.status_code != 200:
            assert len(failure(response, 400)) > 10


def test_other_errors_have_the_form_of_the_protocol_too(api: httpx.Client, address: str) -> None:
    assert "mdl_x" in failure(api.get("/v2/models/mdl_x"), 404)
    assert "/v2/nothing" in failure(api.get("/v2/nothing"), 404)
    assert "does not allow GET" in failure(api.get(address), 405)
    assert "br" in failure(api.post(address, content=b"{}", headers={"Content-Encoding": "br"}), 415)
    assert "not JSON" in failure(api.post("/v2/repository/index", content=b"{"), 400)
    assert failure(api.post("/v2/repository/index", json=[]), 400)
    assert api.get("/v1/nothing").headers["content-type"] == "application/problem+json"
    assert api.get("/v2x").headers["content-type"] == "application/problem+json"


def test_a_model_that_fails_is_an_error_of_the_request(api: httpx.Client) -> None:
    failing = add_model(
        api,
        graphs.model(
            [helper.make_node("Gather", ["x", "i"], ["y"])],
            {"x": (TensorProto.FLOAT, [2]), "i": (TensorProto.INT64, [1])},
            {"y": (TensorProto.FLOAT, [1])},
        ),
        metadata=None,
    )
    inputs = [
        {"name": "x", "datatype": "FP32", "shape": [2], "data": [1, 2]},
        {"name": "i", "datatype": "INT64", "shape": [1], "data": [9]},
    ]
    assert "could not run" in failure(api.post(f"/v2/models/{failing['id']}/infer", json={"inputs": inputs}), 400)


def test_responses_are_compressed_only_if_that_is_accepted(api: httpx.Client) -> None:
    address = f"/v2/models/{add_model(api, echo('INT64'), metadata=None)['id']}/infer"
    inputs = [
        {"name": "a", "datatype": "INT64", "shape": [100, 3], "data": [0] * 300},
        {"name": "b", "datatype": "INT64", "shape": [1], "data": [1]},
    ]
    body = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    plain = api.post(address, content=body, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert "Accept-Encoding" in plain.headers["vary"]
    for encoding, compress in (("gzip", gzip.compress), ("deflate", zlib.compress)):
        headers = {"Accept-Encoding": encoding, "Content-Encoding": encoding}
        packed = api.post(address, content=compress(body), headers=headers)
        assert packed.headers["content-encoding"] == encoding
        assert int(packed.headers["content-length"]) < 1000
        assert packed.content == plain.content
        header = "inference-header-content-length"
        assert packed.headers[header] == plain.headers[header]


def test_limits(start_server: Callable[[Settings], httpx.Client], settings: Settings) -> None:
    small = start_server(settings.model_copy(update={"max_predict_bytes": 10_000, "max_json_bytes": 1000}))
    address = f"/v2/models/{add_model(small, graphs.adder(), metadata=None)['id']}/infer"
    for place in (address, address.replace("/infer", "/versions/1/infer")):
        assert "10,000 bytes" in failure(small.post(place, content=bytes(10_001)), 413)
    headers = {"Content-Encoding": "gzip"}
    assert "unpacks" in failure(small.post(address, content=gzip.compress(bytes(10_001)), headers=headers), 413)
    assert failure(small.post("/v2/repository/index", content=bytes(1001)), 413)
    large = {**ONE, "shape": [500, 2], "data": [[1, 2]] * 500}
    assert "rows" in failure(small.post(address, json={"inputs": [large, {**large, "name": "b"}]}), 400)


def test_an_overloaded_server_says_when_to_try_again(
    start_server: Callable[[Settings], httpx.Client], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*arguments: object, **options: object) -> None:
        raise FaceterError(ProblemKind.OVERLOADED, "Too many predictions.", retry_after=3)

    monkeypatch.setattr(InferencePool, "run", refuse)
    response = start_server(settings).post("/v2/models/mdl_x/infer", json={})
    assert failure(response, 503) == "Too many predictions."
    assert response.headers["retry-after"] == "3"


def test_what_is_no_tensor_is_left_out(api: httpx.Client) -> None:
    content = graphs.model(
        [helper.make_node("SequenceConstruct", ["x"], ["s"]), helper.make_node("Identity", ["x"], ["y"])],
        {"x": (TensorProto.FLOAT, [2])},
        {"y": (TensorProto.FLOAT, [2])},
    )
    made = onnx.load_model_from_string(content)
    sequence = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, [2]))
    made.graph.output.append(helper.make_value_info("s", sequence))
    address = f"/v2/models/{add_model(api, made.SerializeToString(), metadata=None)['id']}"
    assert [output["name"] for output in api.get(address).json()["outputs"]] == ["y"]
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [2], "data": [1, 2]}]}
    assert [output["name"] for output in api.post(f"{address}/infer", json=body).json()["outputs"]] == ["y"]
    asked = body | {"outputs": [{"name": "s"}]}
    assert "no output tensor 's'; it has y" in failure(api.post(f"{address}/infer", json=asked), 400)


def test_the_server_is_not_ready_without_its_store(
    start_server: Callable[[Settings], httpx.Client], settings: Settings
) -> None:
    away = start_server(settings.model_copy(update={"redis_url": "redis://127.0.0.1:1"}))
    assert away.get("/v2/health/live").json() == {"live": True}
    response = away.get("/v2/health/ready")
    assert (response.status_code, response.json()) == (400, {"ready": False})
    assert failure(away.get("/v2/models/mdl_x"), 503)
