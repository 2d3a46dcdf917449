"""The Open Inference Protocol over gRPC, with the client of Triton as it is."""

import queue
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from tests.app.echo_models import TYPES, echo, values
from tests.app.grpc.conftest import MESSAGE_BYTES, BothPorts
from tests.app.uploads import LABELS, add_model
from tests.engines import graphs


def tensor(name: str, array: np.ndarray[Any, Any], datatype: str = "FP32") -> triton.InferInput:
    made = triton.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array)
    return made


def adding(rows: int = 2) -> list[triton.InferInput]:
    array = np.arange(2 * rows, dtype=np.float32).reshape(rows, 2)
    return [tensor("a", array), tensor("b", 10 * array)]


def test_health_and_metadata(both: BothPorts, client: triton.InferenceServerClient) -> None:
    id = add_model(both.http)["id"]
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(id)
    assert client.is_model_ready(id, "1")
    assert not client.is_model_ready(id, "2")
    assert not client.is_model_ready("mdl_x")
    assert client.get_server_metadata(as_json=True) == both.http.get("/v2").json()
    by_grpc = client.get_model_metadata(id, as_json=True)
    by_http = both.http.get(f"/v2/models/{id}").json()
    for described in by_grpc["inputs"] + by_grpc["outputs"]:
        described["shape"] = [int(size) for size in described["shape"]]
    assert by_grpc == by_http


@pytest.mark.parametrize("datatype", TYPES)
def test_every_datatype(both: BothPorts, client: triton.InferenceServerClient, datatype: str) -> None:
    model = add_model(both.http, echo(datatype), metadata=None)
    a, b = values(datatype)
    result = client.infer(model["id"], [tensor("b", b, datatype), tensor("a", a, datatype)])
    assert [output.name for output in result.get_response().outputs] == ["x", "y"]
    for name, sent in (("x", a), ("y", b)):
        assert result.get_output(name).datatype == datatype
        received = result.as_numpy(name)
        expected = np.array([str(text).encode() for text in sent.flat], object).reshape(sent.shape)
        np.testing.assert_array_equal(received, expected if datatype == "BYTES" else sent)


def test_only_requested_outputs_in_their_order(both: BothPorts, client: triton.InferenceServerClient) -> None:
    model = add_model(both.http, echo("INT64"), metadata=None)
    a, b = values("INT64")
    inputs = [tensor("a", a, "INT64"), tensor("b", b, "INT64")]
    for names in (["y", "x"], ["x"], ["y"]):
        result = client.infer(model["id"], inputs, outputs=[triton.InferRequestedOutput(name) for name in names])
        assert [output.name for output in result.get_response().outputs] == names
        for name in names:
            np.testing.assert_array_equal(result.as_numpy(name), {"x": a, "y": b}[name])


@pytest.mark.parametrize("algorithm", ["gzip", "deflate", None])
def test_compression_and_ids(both: BothPorts, client: triton.InferenceServerClient, algorithm: str | None) -> None:
    model = add_model(both.http, graphs.adder(), metadata=None)
    result = client.infer(model["id"], adding(200), model_version="1", request_id="42", compression_algorithm=algorithm)
    np.testing.assert_array_equal(result.as_numpy("sum"), 11 * np.arange(400, dtype=np.float32).reshape(200, 2))
    response = result.get_response()
    assert (response.id, response.model_name, response.model_version) == ("42", model["id"], "1")


def test_classes(both: BothPorts, client: triton.InferenceServerClient) -> None:
    model = add_model(both.http)
    image = tensor("image", np.ones((2, 3, 8, 8), np.float32))
    scores = client.infer(model["id"], [image]).as_numpy("logits")
    outputs = [triton.InferRequestedOutput("logits", class_count=1)]
    classes = client.infer(model["id"], [image], outputs=outputs).as_numpy("logits")
    assert classes.shape == (2, 1)
    assert classes[0, 0].decode().split(":")[2] == LABELS[scores[0].argmax()]


def test_concurrent_requests(both: BothPorts, client: triton.InferenceServerClient) -> None:
    model = add_model(both.http, graphs.adder(), metadata=None)
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    for rows in range(1, 21):
        client.async_infer(
            model["id"], adding(rows), lambda result, error: answers.put((result, error)), request_id=str(rows)
        )
    for _ in range(20):
        result, error = answers.get(timeout=30)
        assert error is None
        assert len(result.as_numpy("sum")) == int(result.get_response().id)


def test_models_are_loaded_unloaded_and_listed(both: BothPorts, client: triton.InferenceServerClient) -> None:
    sessions = both.app.state.core.sessions
    first, second = add_model(both.http), add_model(both.http, graphs.adder(), metadata=None)
    index = client.get_model_repository_index(as_json=True)["models"]
    assert index == [{"name": model["id"], "version": "1", "state": "READY"} for model in (second, first)]
    client.load_model(first["id"])
    assert sessions.statistics().sessions == 1
    client.unload_model(first["id"])
    assert sessions.statistics().sessions == 0


def code(call: Any) -> tuple[str, str]:
    with pytest.raises(InferenceServerException) as caught:
        call()
    return str(caught.value.status()), str(caught.value.message())


def test_errors(both: BothPorts, client: triton.InferenceServerClient) -> None:
    id = add_model(both.http, graphs.adder(), metadata=None)["id"]
    invalid = "StatusCode.INVALID_ARGUMENT"
    for call in (
        lambda: client.infer("mdl_x", adding()),
        lambda: client.infer(id, adding(), model_version="2"),
        lambda: client.get_model_metadata("mdl_x"),
        lambda: client.load_model("mdl_x"),
        lambda: client.unload_model("mdl_x"),
    ):
        assert code(call)[0] == "StatusCode.NOT_FOUND"
    assert code(lambda: client.infer(id, adding()[:1])) == (
        invalid,
        "The input 'b' is missing; the model takes a, b.",
    )
    assert code(lambda: client.infer(id, [adding()[0], tensor("b", np.ones((2, 3), np.float32))]))[0] == invalid
    assert "takes FP32" in code(lambda: client.infer(id, [adding()[0], tensor("b", np.ones((2, 2)), "FP64")]))[1]
    assert "257 rows" in code(lambda: client.infer(id, adding(257)))[1]
    assert "'total'" in code(lambda: client.infer(id, adding(), outputs=[triton.InferRequestedOutput("total")]))[1]
    assert "'config'" in code(lambda: client.load_model(id, config="{}"))[1]
    assert code(lambda: client.get_model_config(id))[0] == "StatusCode.UNIMPLEMENTED"


@pytest.mark.parametrize("algorithm", [None, "gzip"])
def test_a_message_beyond_the_limit_is_refused(
    both: BothPorts, client: triton.InferenceServerClient, algorithm: str | None
) -> None:
    id = add_model(both.http, graphs.adder(), metadata=None)["id"]
    large = tensor("a", np.zeros((MESSAGE_BYTES // 4, 2), np.float32))
    assert code(lambda: client.infer(id, [large], compression_algorithm=algorithm))[0] == (
        "StatusCode.RESOURCE_EXHAUSTED"
    )


def test_calls_are_counted(both: BothPorts, client: triton.InferenceServerClient) -> None:
    client.is_server_live()
    assert 'route="/inference.GRPCInferenceService/ServerLive",status="200"' in both.http.get("/metrics").text
