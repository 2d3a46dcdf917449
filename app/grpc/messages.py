"""The protocol's messages in protobuf, converted to and from tensors."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from app.grpc import open_inference_pb2 as pb
from app.services.inference_protocol.contracts import VERSION, ModelMetadataResponse, TensorDescription
from app.services.inference_protocol.datatypes import NUMPY_DTYPES, encode_text
from app.services.inference_protocol.deadlines import TIMEOUT, seconds_of_timeout
from app.services.inference_protocol.tensors import InputTensor, OutputTensor, RequestedOutput
from faceter.contracts.errors import FaceterError, ProblemKind

_CONTENTS: Final = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""The field of `InferTensorContents` for each datatype; FP16 and BF16 have none."""


def input_tensors(request: pb.ModelInferRequest) -> list[InputTensor]:
    """Return the inputs of a request, either all raw or all as contents.

    Raises:
        FaceterError: `INVALID_REQUEST`.
    """
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise _invalid(
            f"There are {len(request.inputs)} inputs and {len(raw)} raw_input_contents; send one for each input."
        )
    if raw and any(item.HasField("contents") for item in request.inputs):
        raise _invalid("An input has contents although there are raw_input_contents; send one of both.")
    contents: Iterable[Any] = raw or map(_contents, request.inputs)
    return [
        InputTensor(item.name, item.datatype, list(item.shape), content)
        for item, content in zip(request.inputs, contents, strict=True)
    ]


def _contents(item: pb.ModelInferRequest.InferInputTensor) -> Any:
    field = _CONTENTS.get(item.datatype)
    if field is None:
        raise _invalid(
            f"The input {item.name[:100]!r} is {item.datatype[:100]!r}, which has no contents; send raw_input_contents."
        )
    for descriptor, _ in item.contents.ListFields():
        if descriptor.name != field:
            raise _invalid(f"The input {item.name[:100]!r} is {item.datatype} and has {descriptor.name}; send {field}.")
    values = list(getattr(item.contents, field))
    # Floats may be infinite or NaN here, as they cannot be in JSON.
    return np.array(values, NUMPY_DTYPES[item.datatype]) if item.datatype in ("FP32", "FP64") else values


def requested_outputs(request: pb.ModelInferRequest) -> list[RequestedOutput]:
    """Return the outputs that a request asks for.

    Raises:
        FaceterError: `INVALID_REQUEST`.
    """
    return [RequestedOutput(item.name, _classes(item.parameters)) for item in request.outputs]


def _classes(parameters: Mapping[str, pb.InferParameter]) -> int:
    if "classification" not in parameters:
        return 0
    choice = parameters["classification"]
    kind = choice.WhichOneof("parameter_choice")
    classes = getattr(choice, kind) if kind in ("int64_param", "uint64_param") else -1
    if classes < 0:
        raise _invalid("The parameter classification must be a number of classes, as int64_param.")
    return int(classes)


def timeout(request: pb.ModelInferRequest) -> float | None:
    """Return the seconds after which the answer is of no use, by the parameter `timeout`; None without it.

    Raises:
        FaceterError: `INVALID_REQUEST`.
    """
    if TIMEOUT not in request.parameters:
        return None
    choice = request.parameters[TIMEOUT]
    kind = choice.WhichOneof("parameter_choice")
    return seconds_of_timeout(getattr(choice, kind) if kind else "")


def infer_response(request: pb.ModelInferRequest, outputs: Sequence[OutputTensor]) -> pb.ModelInferResponse:
    """Return the response with the outputs of a model.

    They are raw, unless the inputs were sent as contents and every output has a form as contents.
    """
    response = pb.ModelInferResponse(model_name=request.model_name, model_version=VERSION, id=request.id)
    raw = bool(request.raw_input_contents) or any(output.datatype not in _CONTENTS for output in outputs)
    for output in outputs:
        item = response.outputs.add(name=output.name, datatype=output.datatype, shape=output.shape)
        if raw:
            content = output.raw()
            response.raw_output_contents.append(content if isinstance(content, bytes) else content.tobytes())
        else:
            values = output.values()
            getattr(item.contents, _CONTENTS[output.datatype]).extend(
                map(encode_text, values) if output.datatype == "BYTES" else values
            )
    return response


def model_metadata(description: ModelMetadataResponse) -> pb.ModelMetadataResponse:
    """Return what a model takes and returns."""
    return pb.ModelMetadataResponse(
        name=description.name,
        versions=description.versions,
        platform=description.platform,
        inputs=map(_tensor_metadata, description.inputs),
        outputs=map(_tensor_metadata, description.outputs),
    )


def _tensor_metadata(tensor: TensorDescription) -> pb.ModelMetadataResponse.TensorMetadata:
    return pb.ModelMetadataResponse.TensorMetadata(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)


def _invalid(detail: str) -> FaceterError:
    return FaceterError(ProblemKind.INVALID_REQUEST, detail)
