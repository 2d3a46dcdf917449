"""The gRPC port with the generated messages: contents, statuses and what is sent beside a response."""

from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest

from app.grpc import open_inference_pb2 as pb
from app.services.inference_protocol.service import InferenceProtocolService
from faceter.contracts.errors import FaceterError, ProblemKind
from tests.app.echo_models import TYPES, echo, values
from tests.app.grpc.conftest import BothPorts
from tests.app.uploads import add_model
from tests.engines import graphs

FIELDS = {
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "BOOL": "bool_contents",
    "INT64": "int64_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


@pytest.fixture
def channel(both: BothPorts) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(both.address) as channel:
        yield channel


def infer(channel: grpc.Channel, request: pb.ModelInferRequest) -> Any:
    call = channel.unary_unary(
        "/inference.GRPCInferenceService/ModelInfer",
        request_serializer=pb.ModelInferRequest.SerializeToString,
        response_deserializer=pb.ModelInferResponse.FromString,
    )
    return call(request, timeout=30)


def asked(id: str, datatype: str, **inputs: Any) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name=id)
    for name, array in inputs.items():
        item = request.inputs.add(name=name, datatype=datatype, shape=np.shape(array))
        flat = np.ravel(array).tolist()
        getattr(item.contents, FIELDS[datatype]).extend(
            [text.encode() for text in flat] if datatype == "BYTES" else flat
        )
    return request


def refused(channel: grpc.Channel, request: pb.ModelInferRequest) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        infer(channel, request)
    return caught.value


@pytest.mark.parametrize("datatype", FIELDS)
def test_contents_are_answered_by_contents(both: BothPorts, channel: grpc.Channel, datatype: str) -> None:
    id = add_model(both.http, echo(datatype), metadata=None)["id"]
    a, b = values(datatype)
    response = infer(channel, asked(id, datatype, a=a, b=b))
    assert list(response.raw_output_contents) == []
    for output, sent in zip(response.outputs, (a, b), strict=True):
        assert list(output.shape) == list(sent.shape)
        received = list(getattr(output.contents, FIELDS[datatype]))
        expected = sent.ravel().tolist()
        assert received == ([text.encode() for text in expected] if datatype == "BYTES" else expected)


def test_contents_hold_numbers_that_json_does_not(both: BothPorts, channel: grpc.Channel) -> None:
    id = add_model(both.http, echo("FP32"), metadata=None)["id"]
    response = infer(channel, asked(id, "FP32", a=[[np.nan, np.inf, 1]], b=[-np.inf]))
    np.testing.assert_array_equal(response.outputs[0].contents.fp32_contents, [np.nan, np.inf, 1])
    assert list(response.outputs[1].contents.fp32_contents) == [-np.inf]


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_what_has_no_contents_is_raw(both: BothPorts, channel: grpc.Channel, datatype: str) -> None:
    id = add_model(both.http, echo(datatype), metadata=None)["id"]
    request = pb.ModelInferRequest(model_name=id, raw_input_contents=[b"\0\x3c" * 3, b"\0\x40"])
    request.inputs.add(name="a", datatype=datatype, shape=[1, 3])
    request.inputs.add(name="b", datatype=datatype, shape=[1])
    assert list(infer(channel, request).raw_output_contents) == [b"\0\x3c" * 3, b"\0\x40"]
    del request.raw_input_contents[:]
    assert "send raw_input_contents" in refused(channel, request).details()


def test_requests_that_contradict_themselves(both: BothPorts, channel: grpc.Channel) -> None:
    id = add_model(both.http, echo("INT8"), metadata=None)["id"]
    a, b = values("INT8")

    def changed(words: str, **change: Any) -> None:
        request = asked(id, "INT8", a=a, b=b)
        request.MergeFrom(pb.ModelInferRequest(**change))
        error = refused(channel, request)
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert words in error.details()

    changed("2 inputs and 1 raw_input_contents", raw_input_contents=[b""])
    changed("send one of both", raw_input_contents=[b"", b""])
    changed("'c'", inputs=[{"name": "c", "datatype": "INT8"}])
    floats = {"name": "c", "datatype": "INT8", "contents": {"fp32_contents": [1.0]}}
    changed("has fp32_contents; send int_contents", inputs=[floats])
    output = pb.ModelInferRequest.InferRequestedOutputTensor(name="x")
    output.parameters["classification"].string_param = "two"
    changed("classification", outputs=[output])
    wide = asked(id, "INT8", a=a, b=[1])
    wide.inputs[1].contents.int_contents[0] = 200
    assert "outside int8" in refused(channel, wide).details()
    short = asked(id, "INT8", a=a, b=[1])
    short.inputs[0].shape[0] = 5
    assert "needs 15" in refused(channel, short).details()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (FaceterError(ProblemKind.OVERLOADED, "Full.", retry_after=3), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (FaceterError(ProblemKind.STORE_UNAVAILABLE, "Away."), grpc.StatusCode.UNAVAILABLE),
        (FaceterError(ProblemKind.BLOB_MISSING, "Gone."), grpc.StatusCode.INTERNAL),
        (FaceterError(ProblemKind.INFERENCE_FAILED, "Failed."), grpc.StatusCode.INVALID_ARGUMENT),
        (RuntimeError("secret"), grpc.StatusCode.INTERNAL),
    ],
)
def test_statuses(
    both: BothPorts,
    channel: grpc.Channel,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    code: grpc.StatusCode,
) -> None:
    def fail(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(InferenceProtocolService, "infer", fail)
    caught = refused(channel, pb.ModelInferRequest(model_name="x"))
    assert caught.code() is code
    trailing = dict(caught.trailing_metadata())
    assert len(trailing["x-request-id"]) == 32
    assert trailing.get("retry-after") == ("3" if code is grpc.StatusCode.RESOURCE_EXHAUSTED else None)
    assert "secret" not in caught.details()


def test_every_datatype_is_tried() -> None:
    assert set(FIELDS) | {"FP16", "BF16"} == set(TYPES)


def test_both_ports_run_the_same_sessions(both: BothPorts, channel: grpc.Channel) -> None:
    id = add_model(both.http, graphs.adder(), metadata=None)["id"]
    infer(channel, asked(id, "FP32", a=[[1, 2]], b=[[3, 4]]))
    before = both.app.state.core.sessions.statistics()
    both.http.post(f"/v1/models/{id}/predict", json={"inputs": {"a": [[1, 2]], "b": [[3, 4]]}})
    after = both.app.state.core.sessions.statistics()
    assert (after.sessions, after.misses) == (before.sessions, before.misses)
