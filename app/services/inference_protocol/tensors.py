"""Tensors of the protocol's messages, and their conversion to and from a model's arrays."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import numpy as np

from app.services.inference_protocol.datatypes import (
    DATATYPES,
    NUMPY_DTYPES,
    Bytes,
    TextFormError,
    bfloat16_to_float32,
    decode_text,
    float32_to_bfloat16,
    join_texts,
    split_texts,
)
from app.services.predictions.input_checks import invalid_input
from app.services.predictions.json_inputs import to_dtype
from app.services.predictions.json_outputs import check_json_size
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import TensorSpec
from faceter.engines.base import Array

_MOST_ECHOED: Final = 100


@dataclass(frozen=True)
class InputTensor:
    """An input of a request."""

    name: str
    datatype: str
    shape: Sequence[int]
    content: Any
    """Its elements in row-major order: little-endian bytes, an array of their type, or a list, nested or flat."""


@dataclass(frozen=True)
class RequestedOutput:
    """An output that a request asks for."""

    name: str
    classes: int = 0
    """For the classification extension: number of classes to return in place of the tensor."""


@dataclass(frozen=True)
class OutputTensor:
    """An output of a response."""

    name: str
    datatype: str
    array: Array
    """BF16 as uint16, BYTES as objects."""

    @property
    def shape(self) -> list[int]:
        """Size of each axis."""
        return list(self.array.shape)

    def raw(self) -> Array | bytes:
        """Return the elements as an object with the protocol's bytes, without a copy where there is no need of one."""
        return join_texts(self.array.flat) if self.datatype == "BYTES" else self.array

    def values(self) -> list[Any]:
        """Return the elements as a flat list.

        Raises:
            FaceterError: `INVALID_REQUEST` for BF16, which only has a binary form.
        """
        if self.datatype == "BF16":
            raise FaceterError(
                ProblemKind.INVALID_REQUEST,
                f"The output {self.name!r} is BF16, which has no form but the binary one. Ask for it as binary data.",
                field=f"outputs.{self.name}",
            )
        check_json_size({self.name: self.array}, "Ask for it as binary data.")
        values: list[Any] = self.array.reshape(-1).tolist()
        return values


def to_array(tensor: InputTensor, spec: TensorSpec) -> Array:
    """Return an input as the array that the engine takes; from bytes without a copy, if they are aligned.

    Args:
        tensor: The input.
        spec: The model's input of that name.

    Raises:
        FaceterError: `INVALID_INPUT`, naming the input, if the datatype is another one, or the content has another
            number of elements than the shape.
    """
    expected = DATATYPES.get(spec.dtype)
    if expected is None:
        raise invalid_input(
            f"The input {spec.name!r} is a {spec.dtype}, no tensor, which this protocol cannot carry. "
            "POST /v1/models/{id}/predict takes it.",
            spec.name,
        )
    if tensor.datatype != expected:
        raise invalid_input(
            f"The input {spec.name!r} takes {expected}, not {tensor.datatype[:_MOST_ECHOED]!r}.", spec.name
        )
    if any(size < 0 for size in tensor.shape):
        raise invalid_input(f"The input {spec.name!r} has a negative size in its shape.", spec.name)
    count = prod(tensor.shape)
    if count == 0:
        raise invalid_input(f"The input {spec.name!r} is empty.", spec.name)
    content = tensor.content
    if isinstance(content, Bytes):
        array = _from_bytes(content, count, tensor, expected)
    elif isinstance(content, np.ndarray):
        array = content
    elif expected == "BF16":
        raise invalid_input(
            f"The input {spec.name!r} is BF16, which has no form but the binary one. Send it as binary data.", spec.name
        )
    else:
        array = _from_texts(content, spec.name) if expected == "BYTES" else to_dtype(content, spec)
    if array.size != count:
        raise _miscounted(tensor, count, f"{array.size} elements", f"{count}")
    return array.reshape(tuple(tensor.shape))


def _from_bytes(content: Bytes, count: int, tensor: InputTensor, datatype: str) -> Array:
    if datatype == "BYTES":
        try:
            return _objects(split_texts(content))
        except TextFormError as error:
            raise invalid_input(f"The input {tensor.name!r} {error}.", tensor.name) from error
    dtype = NUMPY_DTYPES[datatype]
    if len(content) != count * dtype.itemsize:
        raise _miscounted(tensor, count, f"{len(content)} bytes", f"{count * dtype.itemsize}")
    array = np.frombuffer(content, dtype)
    if datatype == "BF16":
        return bfloat16_to_float32(array)
    if datatype == "BOOL" and array.view(np.uint8).max() > 1:
        raise invalid_input(f"The input {tensor.name!r} is BOOL and has a byte other than 0 and 1.", tensor.name)
    return np.require(array, requirements="A")


def _miscounted(tensor: InputTensor, count: int, given: str, needed: str) -> FaceterError:
    return invalid_input(
        f"The input {tensor.name!r} has {given}; {tensor.datatype} of shape {list(tensor.shape)} needs {needed}.",
        tensor.name,
    )


def _from_texts(content: Any, name: str) -> Array:
    texts = list(_flat(content))
    if not all(isinstance(text, str | bytes) for text in texts):
        raise invalid_input(f"The input {name!r} takes text.", name)
    try:
        return _objects([text if isinstance(text, str) else decode_text(text) for text in texts])
    except TextFormError as error:
        raise invalid_input(f"The input {name!r} {error}.", name) from error


def _flat(content: Any) -> Iterator[Any]:
    if isinstance(content, list):
        for item in content:
            yield from _flat(item)
    else:
        yield content


def _objects(texts: list[str]) -> Array:
    """Return an array of texts; numpy's own text type takes as much for each as for the longest."""
    array = np.empty(len(texts), object)
    array[:] = texts
    return array


def to_output(name: str, dtype: str, value: Any) -> OutputTensor:
    """Return an output of the engine as an output of a response."""
    array = np.asarray(value, order="C")
    return OutputTensor(name, DATATYPES[dtype], float32_to_bfloat16(array) if dtype == "bfloat16" else array)


def classified(name: str, value: Any, classes: int, labels: Sequence[str] | None) -> OutputTensor:
    """Return the highest values of an output, as the classification extension has them.

    Args:
        name: The output.
        value: [N, …], or one row; the elements of a row are the classes.
        classes: Number of classes to return of each row.
        labels: Names of the classes, if the model has them.

    Returns:
        BYTES of shape [N, classes], or [classes] of one row: `VALUE:INDEX`, or `VALUE:INDEX:LABEL`, highest first.

    Raises:
        FaceterError: `INVALID_REQUEST` if the output holds no numbers.
    """
    array = np.asarray(value)
    if array.dtype.kind not in "iuf":
        raise FaceterError(
            ProblemKind.INVALID_REQUEST,
            f"The output {name!r} holds no numbers, so it has no classes.",
            field=f"outputs.{name}.parameters.classification",
        )
    rows = array.reshape(len(array), -1) if array.ndim > 1 else array.reshape(1, -1)
    names = labels if labels is not None and len(labels) == rows.shape[1] else None
    # Sorted from behind, so that of equal values the first comes first.
    highest = rows.shape[1] - 1 - np.argsort(rows[:, ::-1], axis=1, kind="stable")[:, ::-1][:, :classes]
    texts = [
        f"{rows[row, index]:f}:{index}" + (f":{names[index]}" if names else "")
        for row, indices in enumerate(highest)
        for index in indices
    ]
    shape = highest.shape if array.ndim > 1 else highest.shape[1:]
    return OutputTensor(name, "BYTES", _objects(texts).reshape(shape))
