"""Formats of predictions by the Accept header, and compression."""

import gzip
import io
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
from onnx import TensorProto, helper

from faceter.contracts.errors import ProblemKind
from tests.app.http.test_problems import problem
from tests.app.uploads import add_model
from tests.engines import graphs

IMAGE = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)


def classify(api: httpx.Client, accept: str, **query: str) -> httpx.Response:
    address = f"/v1/models/{add_model(api)['id']}/predict"
    return api.post(address, json={"inputs": {"image": IMAGE.tolist()}}, params=query, headers={"Accept": accept})


def both(api: httpx.Client, accept: str, values: Any, dtype: int = TensorProto.FLOAT) -> httpx.Response:
    content = graphs.model(
        [helper.make_node("Identity", ["x"], ["same"]), helper.make_node("Neg", ["x"], ["minus"])],
        {"x": (dtype, ["n"])},
        {"same": (dtype, ["n"]), "minus": (dtype, ["n"])},
    )
    address = f"/v1/models/{add_model(api, content, metadata=None)['id']}/predict"
    return api.post(address, json={"inputs": {"x": values}}, headers={"Accept": accept})


def test_messagepack_has_the_fields_of_json_and_tensors_as_bytes(api: httpx.Client) -> None:
    plain = classify(api, "application/json", raw="true").json()
    answer = classify(api, "application/msgpack", raw="true")
    assert answer.headers["content-type"] == "application/msgpack"
    packed = msgspec.msgpack.decode(answer.content)
    assert packed.keys() == plain.keys()
    assert packed["predictions"] == plain["predictions"]
    tensor = packed["outputs"]["logits"]
    assert (tensor["dtype"], tensor["shape"]) == ("float32", [2, 3])
    values = np.frombuffer(tensor["data"], np.float32).reshape(2, 3)
    np.testing.assert_allclose(values, plain["outputs"]["logits"], rtol=1e-6)


def test_numpys_formats_have_the_raw_outputs(api: httpx.Client) -> None:
    expected = classify(api, "*/*", raw="true").json()["outputs"]["logits"]
    single = np.load(io.BytesIO(classify(api, "application/x-npy").content))
    assert (single.dtype, single.shape) == (np.float32, (2, 3))
    np.testing.assert_allclose(single, expected, rtol=1e-6)
    with np.load(io.BytesIO(both(api, "application/x-npz", [1, -2], TensorProto.INT64).content)) as file:
        assert {name: values.tolist() for name, values in file.items()} == {"same": [1, -2], "minus": [-1, 2]}
        assert file["same"].dtype == np.int64


def test_several_outputs_do_not_fit_one_array(api: httpx.Client) -> None:
    assert "x-npz" in problem(both(api, "application/x-npy", [1.0]), ProblemKind.NOT_ACCEPTABLE).detail


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        ("text/html, application/msgpack;q=0.5, */*;q=0.1", "application/msgpack"),
        ("application/msgpack;q=0.2, application/json", "application/json"),
    ],
)
def test_the_header_decides_by_quality(api: httpx.Client, accept: str, media_type: str) -> None:
    answer = classify(api, accept)
    assert answer.headers["content-type"].partition(";")[0] == media_type
    assert "Accept" in answer.headers["vary"]


def test_a_format_that_is_not_there_is_refused_before_work_starts(api: httpx.Client) -> None:
    assert "application/x-npz" in problem(classify(api, "image/png"), ProblemKind.NOT_ACCEPTABLE).detail


@pytest.mark.parametrize(("encoding", "compressed"), [("gzip", True), ("br, gzip;q=0.5", True), ("identity", False)])
def test_large_answers_are_compressed_for_who_accepts_it(api: httpx.Client, encoding: str, compressed: bool) -> None:
    content = graphs.model(
        [helper.make_node("Identity", ["x"], ["y"])],
        {"x": (TensorProto.FLOAT, ["n", "m"])},
        {"y": (TensorProto.FLOAT, ["n", "m"])},
    )
    address = f"/v1/models/{add_model(api, content, metadata=None)['id']}/predict"
    with api.stream(
        "POST", address, json={"inputs": {"x": [[0.5] * 200]}}, headers={"Accept-Encoding": encoding}
    ) as small:
        assert "content-encoding" not in small.headers
    many = {"inputs": {"x": [[0.5] * 20_000]}}
    with api.stream("POST", address, json=many, headers={"Accept-Encoding": encoding}) as answer:
        raw = b"".join(answer.iter_raw())
    assert (answer.headers.get("content-encoding") == "gzip") is compressed
    document = msgspec.json.decode(gzip.decompress(raw) if compressed else raw)
    assert document["outputs"]["y"] == [[0.5] * 20_000]
