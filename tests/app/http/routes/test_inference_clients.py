"""The Open Inference Protocol over HTTP, with the client of Triton as it is."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from fastapi import FastAPI
from tritonclient.utils import InferenceServerException

from tests.app.echo_models import TYPES, echo, values
from tests.app.uploads import LABELS, add_model
from tests.engines import graphs

NOT_IN_JSON = ("FP16", "BF16")
"""Datatypes that this client sends in binary form only."""


_KEPT: list[triton.InferenceServerClient] = []
"""Clients are kept, since this one cannot be collected in another thread than its own."""


@pytest.fixture(scope="module")
def client(shared_api: httpx.Client) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(shared_api.base_url.netloc.decode(), concurrency=4) as client:
        _KEPT.append(client)
        yield client


def tensor(name: str, array: np.ndarray[Any, Any], datatype: str, *, binary: bool = True) -> triton.InferInput:
    made = triton.InferInput(name, list(array.shape), datatype)
    return made.set_data_from_numpy(array, binary_data=binary)


def adding(rows: int = 2, **options: Any) -> list[triton.InferInput]:
    array = np.arange(2 * rows, dtype=np.float32).reshape(rows, 2)
    return [tensor("a", array, "FP32", **options), tensor("b", 10 * array, "FP32", **options)]


def test_health_and_metadata(api: httpx.Client, client: triton.InferenceServerClient) -> None:
    model = add_model(api)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(model["id"])
    assert client.is_model_ready(model["id"], "1")
    assert not client.is_model_ready("mdl_x")
    assert not client.is_model_ready(model["id"], "2")
    server = client.get_server_metadata()
    assert server["name"] == "faceter"
    assert "binary_tensor_data" in server["extensions"]
    described = client.get_model_metadata(model["id"])
    assert described == client.get_model_metadata(model["id"], "1")
    assert described["versions"] == ["1"]
    assert described["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 3, 8, 8]}]
    assert described["outputs"] == [{"name": "logits", "datatype": "FP32", "shape": [-1, 3]}]


@pytest.mark.parametrize("datatype", TYPES)
def test_every_datatype_in_binary_form(api: httpx.Client, client: triton.InferenceServerClient, datatype: str) -> None:
    model = add_model(api, echo(datatype), metadata=None)
    assert {tensor["datatype"] for tensor in client.get_model_metadata(model["id"])["inputs"]} == {datatype}
    a, b = values(datatype)
    result = client.infer(model["id"], [tensor("a", a, datatype), tensor("b", b, datatype)])
    assert [output["name"] for output in result.get_response()["outputs"]] == ["x", "y"]
    for name, sent in (("x", a), ("y", b)):
        assert result.get_output(name)["datatype"] == datatype
        received = result.as_numpy(name)
        expected = np.array([str(text).encode() for text in sent.flat], object).reshape(sent.shape)
        np.testing.assert_array_equal(received, expected if datatype == "BYTES" else sent)
        assert datatype in ("BF16", "BYTES") or received.dtype == sent.dtype


@pytest.mark.parametrize("datatype", [name for name in TYPES if name not in NOT_IN_JSON])
def test_every_datatype_in_json(api: httpx.Client, client: triton.InferenceServerClient, datatype: str) -> None:
    model = add_model(api, echo(datatype), metadata=None)
    a, b = values(datatype)
    inputs = [tensor("a", a, datatype, binary=False), tensor("b", b, datatype, binary=False)]
    outputs = [triton.InferRequestedOutput(name, binary_data=False) for name in ("x", "y")]
    result = client.infer(model["id"], inputs, outputs=outputs)
    np.testing.assert_array_equal(result.as_numpy("x"), a)
    np.testing.assert_array_equal(result.as_numpy("y"), b)


def test_only_requested_outputs_in_their_order(api: httpx.Client, client: triton.InferenceServerClient) -> None:
    model = add_model(api, echo("INT64"), metadata=None)
    a, b = values("INT64")
    inputs = [tensor("b", b, "INT64", binary=False), tensor("a", a, "INT64")]

    def names(*wanted: tuple[str, bool]) -> list[str]:
        outputs = [triton.InferRequestedOutput(name, binary_data=binary) for name, binary in wanted]
        result = client.infer(model["id"], inputs, outputs=outputs)
        for name, _ in wanted:
            np.testing.assert_array_equal(result.as_numpy(name), {"x": a, "y": b}[name])
        return [output["name"] for output in result.get_response()["outputs"]]

    assert names(("y", True), ("x", False)) == ["y", "x"]
    assert names(("x", True), ("y", True)) == ["x", "y"]
    assert names(("y", True)) == ["y"]


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False])
def test_compression(api: httpx.Client, client: triton.InferenceServerClient, algorithm: str, *, binary: bool) -> None:
    model = add_model(api, graphs.adder(), metadata=None)
    result = client.infer(
        model["id"],
        adding(200, binary=binary),
        outputs=[triton.InferRequestedOutput("sum", binary_data=binary)],
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    np.testing.assert_array_equal(result.as_numpy("sum"), 11 * np.arange(400, dtype=np.float32).reshape(200, 2))


def test_the_id_of_a_request_and_the_version(api: httpx.Client, client: triton.InferenceServerClient) -> None:
    model = add_model(api, graphs.adder(), metadata=None)
    response = client.infer(model["id"], adding(), model_version="1", request_id="42").get_response()
    assert (response["id"], response["model_name"], response["model_version"]) == ("42", model["id"], "1")
    assert "id" not in client.infer(model["id"], adding()).get_response()


def test_classes(api: httpx.Client, client: triton.InferenceServerClient) -> None:
    model = add_model(api)
    image = tensor("image", np.ones((2, 3, 8, 8), np.float32), "FP32")
    scores = client.infer(model["id"], [image]).as_numpy("logits")
    outputs = [triton.InferRequestedOutput("logits", class_count=2)]
    classes = client.infer(model["id"], [image], outputs=outputs).as_numpy("logits")
    assert classes.shape == (2, 2)
    value, index, label = classes[0, 0].decode().split(":")
    assert int(index) == scores[0].argmax()
    assert label == LABELS[int(index)]
    assert float(value) == pytest.approx(scores[0].max(), abs=1e-6)


def test_concurrent_requests(api: httpx.Client, client: triton.InferenceServerClient) -> None:
    model = add_model(api, graphs.adder(), metadata=None)
    running = [client.async_infer(model["id"], adding(rows)) for rows in range(1, 21)]
    assert [len(request.get_result().as_numpy("sum")) for request in running] == list(range(1, 21))


def test_models_are_loaded_unloaded_and_listed(
    api: httpx.Client, shared_app: FastAPI, client: triton.InferenceServerClient
) -> None:
    sessions = shared_app.state.core.sessions
    first, second = add_model(api), add_model(api, graphs.adder(), metadata=None)
    assert [entry["name"] for entry in client.get_model_repository_index()] == [second["id"], first["id"]]
    assert {entry["state"] for entry in client.get_model_repository_index()} == {"READY"}
    assert sessions.statistics().sessions == 0
    client.load_model(first["id"])
    client.load_model(first["id"])
    assert sessions.statistics().sessions == 1
    assert client.is_model_ready(first["id"])
    client.unload_model(first["id"])
    assert sessions.statistics().sessions == 0
    client.infer(second["id"], adding())


@pytest.mark.parametrize(
    ("model", "inputs", "words"),
    [
        ("mdl_x", adding(), r"\[404\] There is no model 'mdl_x'"),
        ("{id}", adding()[:1], r"\[400\] The input 'b' is missing; the model takes a, b"),
        ("{id}", [*adding(), tensor("c", np.ones(1, np.float32), "FP32")], r"\[400\] The model has no input 'c'"),
        ("{id}", [adding()[0], *adding(3)[1:]], r"\[400\] .*'batch' in common, not 2 and 3"),
        ("{id}", adding(257), r"\[400\] .*257 rows; this server takes 256"),
        ("{id}", [adding()[0], tensor("b", np.ones((2, 2), np.int64), "INT64")], r"\[400\] .*'b' takes FP32, not 'INT"),
        ("{id}", [adding()[0], tensor("b", np.ones((2, 3), np.float32), "FP32")], r"\[400\] .*\[2, 3\].*\[batch, 2\]"),
    ],
)
def test_errors(
    api: httpx.Client,
    client: triton.InferenceServerClient,
    model: str,
    inputs: list[triton.InferInput],
    words: str,
) -> None:
    id = add_model(api, graphs.adder(), metadata=None)["id"]
    with pytest.raises(InferenceServerException, match=words):
        client.infer(model.format(id=id), inputs)


def test_errors_of_models(api: httpx.Client, client: triton.InferenceServerClient) -> None:
    model = add_model(api, graphs.adder(), metadata=None)
    calls: tuple[Callable[[], Any], ...] = (
        lambda: client.infer(model["id"], adding(), model_version="2"),
        lambda: client.get_model_metadata(model["id"], "2"),
        lambda: client.get_model_metadata("mdl_x"),
        lambda: client.load_model("mdl_x"),
        lambda: client.unload_model("mdl_x"),
    )
    for call in calls:
        with pytest.raises(InferenceServerException, match=r"\[404\]"):
            call()
    with pytest.raises(InferenceServerException, match=r"\[400\] The parameter 'config' cannot be used"):
        client.load_model(model["id"], config="{}")
    with pytest.raises(InferenceServerException, match=r"no output tensor 'total'; it has sum"):
        client.infer(model["id"], adding(), outputs=[triton.InferRequestedOutput("total")])
