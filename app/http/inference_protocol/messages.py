"""Inference requests and responses in HTTP bodies: JSON, followed by the bytes of binary tensors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import msgspec
from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from app.http.inference_protocol.compression import compressed, decompressed
from app.http.problems import field_problems, invalid_request
from app.http.responses import JSON
from app.services.inference_protocol.contracts import VERSION, InferInput, InferRequest
from app.services.inference_protocol.deadlines import TIMEOUT, seconds_of_timeout
from app.services.inference_protocol.tensors import InputTensor, OutputTensor, RequestedOutput
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.json_text import NotJsonError, read_json

HEADER_LENGTH: Final = "Inference-Header-Content-Length"
"""Header with the size of the JSON in a body with binary tensors."""

BINARY: Final = "application/octet-stream"

_ALIGNMENT: Final = 8
_MOST_DIGITS: Final = 18
_QUICK_BYTES: Final = 1024 * 1024
"""JSON whose parameters are found within a few milliseconds."""
_ANY: Final[TypeAdapter[Any]] = TypeAdapter(Any)


class _JsonConstantError(Exception):
    pass


@dataclass(frozen=True)
class InferBody:
    """The body of an inference request, as it was received."""

    chunks: Sequence[bytes]
    encoding: str
    header_length: str | None
    accept_encoding: str

    @classmethod
    async def read(cls, request: Request) -> "InferBody":
        """Receive a body."""
        chunks = [chunk async for chunk in request.stream()]
        headers = request.headers
        return cls(
            chunks, headers.get("content-encoding", ""), headers.get(HEADER_LENGTH), headers.get("accept-encoding", "")
        )


@dataclass(frozen=True)
class InferMessage:
    """An inference request."""

    header: InferRequest
    inputs: list[InputTensor]
    outputs: list[RequestedOutput]
    binary: dict[str, bool]
    """Whether an output is asked for in binary form, by name."""

    @property
    def timeout(self) -> float | None:
        """Seconds after which the answer is of no use, by the parameter `timeout`; None without it.

        Raises:
            FaceterError: `INVALID_REQUEST`.
        """
        return seconds_of_timeout(self.header.parameters.get(TIMEOUT))


class _Parameters(msgspec.Struct):
    """The parameters of a request; all else is skipped, which takes a fraction of parsing it."""

    parameters: dict[str, Any] = {}


_PARAMETERS: Final = msgspec.json.Decoder(_Parameters)


def early_timeout(body: InferBody) -> float | None:
    """Return `InferMessage.timeout` of a body that is not parsed yet; parsing takes a turn in the queue.

    Returns:
        Seconds; None if there is none, or if finding it takes long: in JSON that is large or compressed.

    Raises:
        FaceterError: `INVALID_REQUEST`.
    """
    size = sum(map(len, body.chunks))
    length = size if body.header_length is None else _stated_length(body.header_length)
    if length is None or length > _QUICK_BYTES or body.encoding:
        return None
    try:
        parameters = _PARAMETERS.decode(_beginning(body.chunks, length)).parameters
    except msgspec.DecodeError:  # `parse_infer` says why
        return None
    return seconds_of_timeout(parameters.get(TIMEOUT))


def _beginning(chunks: Sequence[bytes], length: int) -> bytes:
    """Return the first bytes of a body, without joining the rest."""
    parts, missing = [], length
    for chunk in chunks:
        if missing <= 0:
            break
        parts.append(chunk[:missing])
        missing -= len(chunk)
    return b"".join(parts)


def parse_infer(body: InferBody, max_bytes: int) -> InferMessage:
    """Return the request of a body. The bytes of its tensors are not copied, and begin aligned.

    Raises:
        FaceterError: `MALFORMED_BODY`, `INVALID_REQUEST`, `PAYLOAD_TOO_LARGE`, `UNSUPPORTED_MEDIA_TYPE`.
    """
    chunks = decompressed(body.chunks, body.encoding, max_bytes)
    size = sum(map(len, chunks))
    length = _header_length(body.header_length, size)
    padding = -length % _ALIGNMENT
    content = memoryview(b"".join([bytes(padding), *chunks]))[padding:]
    header = _header(bytes(content[:length]))
    outputs = [RequestedOutput(output.name, _classes(output.parameters, output.name)) for output in header.outputs]
    binary = {
        output.name: output.parameters["binary_data"] is True
        for output in header.outputs
        if "binary_data" in output.parameters
    }
    return InferMessage(header, _inputs(header.inputs, content[length:]), outputs, binary)


def _header_length(said: str | None, size: int) -> int:
    if said is None:
        return size
    length = _stated_length(said)
    if length is None or not 0 < length <= size:
        raise FaceterError(
            ProblemKind.MALFORMED_BODY,
            f"The header {HEADER_LENGTH} is {said[:100]!r}; it must be the size of the JSON in the body, which has "
            f"{size} bytes.",
        )
    return length


def _stated_length(said: str) -> int | None:
    """Return the number that the header states; None if it states none."""
    return int(said) if said.isascii() and said.isdecimal() and len(said) <= _MOST_DIGITS else None


def _header(text: bytes) -> InferRequest:
    try:
        document = read_json(text, parse_constant=_refuse_constant)
    except _JsonConstantError as error:
        raise FaceterError(
            ProblemKind.INVALID_INPUT,
            f"The JSON contains {error}; every number must be finite. Send such tensors as binary data.",
        ) from error
    except NotJsonError as error:
        raise FaceterError(ProblemKind.MALFORMED_BODY, f"The body is not JSON: {error}.") from error
    try:
        return InferRequest.model_validate(document)
    except ValidationError as error:
        raise invalid_request(
            field_problems(error.errors(include_url=False), "body" * (not isinstance(document, dict)))
        ) from error


def _refuse_constant(name: str) -> NoReturn:
    raise _JsonConstantError(name)


def _inputs(described: Sequence[InferInput], rest: memoryview) -> list[InputTensor]:
    tensors, position = [], 0
    for item in described:
        size = item.parameters.get("binary_data_size")
        if size is None:
            if item.data is None:
                raise _invalid(f"The input {item.name[:100]!r} has neither `data` nor `binary_data_size`.")
            content = item.data
        else:
            if type(size) is not int or size < 0:
                raise _invalid(f"The `binary_data_size` of the input {item.name[:100]!r} must be a number of bytes.")
            if item.data is not None:
                raise _invalid(f"The input {item.name[:100]!r} has both `data` and `binary_data_size`.")
            if position + size > len(rest):
                raise _invalid(
                    f"The input {item.name[:100]!r} has {size} bytes by its `binary_data_size`; the body has "
                    f"{len(rest) - position} left. Is the header {HEADER_LENGTH} set?"
                )
            content = rest[position : position + size]
            position += size
        tensors.append(InputTensor(item.name, item.datatype, item.shape, content))
    if position != len(rest):
        raise _invalid(f"The body has {len(rest) - position} bytes more than its inputs.")
    return tensors


def _classes(parameters: dict[str, Any], name: str) -> int:
    classes = parameters.get("classification", 0)
    if type(classes) is not int or classes < 0:
        raise _invalid(f"The parameter `classification` of the output {name[:100]!r} must be a number of classes.")
    return classes


def _invalid(detail: str) -> FaceterError:
    return FaceterError(ProblemKind.INVALID_REQUEST, detail)


def infer_response(
    model_id: str, message: InferMessage, outputs: Sequence[OutputTensor], accept_encoding: str
) -> Response:
    """Return the response with the outputs of a model, each in the form that the request asks for.

    Raises:
        FaceterError: `INVALID_REQUEST` for an output without a form in JSON.
    """
    by_default = message.header.parameters.get("binary_data_output") is True
    described: list[dict[str, Any]] = []
    parts: list[Any] = []
    for output in outputs:
        item: dict[str, Any] = {"name": output.name, "datatype": output.datatype, "shape": output.shape}
        if message.binary.get(output.name, by_default):
            raw = output.raw()
            item["parameters"] = {"binary_data_size": raw.nbytes if not isinstance(raw, bytes) else len(raw)}
            parts.append(raw)
        else:
            item["data"] = output.values()
        described.append(item)
    document: dict[str, Any] = {"model_name": model_id, "model_version": VERSION}
    if message.header.id is not None:
        document["id"] = message.header.id
    header = _ANY.dump_json(document | {"outputs": described})
    body, encoding = compressed(b"".join([header, *parts]), accept_encoding)
    headers = {"Vary": "Accept-Encoding"}
    if parts:
        headers[HEADER_LENGTH] = str(len(header))
    if encoding:
        headers["Content-Encoding"] = encoding
    return Response(body, headers=headers, media_type=BINARY if parts else JSON)
