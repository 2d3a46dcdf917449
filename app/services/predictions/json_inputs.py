"""Conversion of the JSON inputs of a predict request to arrays of a model's dtypes and shapes."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

import numpy as np

from app.services.predictions.input_checks import check_names, check_shapes, invalid_input
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.json_text import NotJsonError, read_json
from faceter.contracts.models import TensorSpec
from faceter.engines.base import Array
from faceter.graphs.value_types import inner_types, is_tensor

_EXACT_IN_FLOAT64: Final = 2**53


class _NotFiniteError(Exception):
    pass


def parse_body(body: bytes) -> dict[str, Any]:
    """Return a JSON body, an object.

    Raises:
        FaceterError: `MALFORMED_BODY` if it is not JSON, `INVALID_INPUT` if it contains NaN or Infinity,
            `INVALID_REQUEST` if it is no object.
    """
    try:
        document = read_json(body, parse_constant=_refuse_constant)
    except _NotFiniteError as error:
        raise FaceterError(
            ProblemKind.INVALID_INPUT, f"The body contains {error}; every number must be finite.", field="inputs"
        ) from error
    except NotJsonError as error:
        raise FaceterError(ProblemKind.MALFORMED_BODY, f"The body is not JSON: {error}.", field="body") from error
    if not isinstance(document, dict):
        raise _wrong_form()
    return document


def inputs_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `inputs` of a body.

    Raises:
        FaceterError: `INVALID_REQUEST` if it is not `{"inputs": {…}}`.
    """
    if not isinstance(document.get("inputs"), dict):
        raise _wrong_form()
    for name in document:
        if name != "inputs":
            raise FaceterError(
                ProblemKind.INVALID_REQUEST, f"There is no field {name[:100]!r} beside `inputs`.", field=name[:100]
            )
    inputs: dict[str, Any] = document["inputs"]
    return inputs


def _wrong_form() -> FaceterError:
    return FaceterError(
        ProblemKind.INVALID_REQUEST,
        'The body must be {"inputs": {NAME: nested list of numbers, …}}, or for a model with a tokenizer '
        '{"texts": ["a text", …]} or {"text_pairs": [["a text", "another"], …]}.',
        field="inputs",
    )


def _refuse_constant(name: str) -> NoReturn:
    raise _NotFiniteError(name)


def to_arrays(inputs: Mapping[str, Any], specs: Sequence[TensorSpec], *, max_rows: int) -> dict[str, Array]:
    """Return one array for each input of a model.

    Args:
        inputs: Nested lists of numbers (text, booleans) by name.
        specs: The inputs of the model. Sizes with the same name must be equal in all inputs.
        max_rows: Maximum size of a first axis of variable size.

    Raises:
        FaceterError: `INVALID_INPUT`, naming the input, for one that is missing or unknown, ragged, of another shape
            or dtype, out of the dtype's range, or not finite.
    """
    check_names(inputs, specs)
    arrays = {spec.name: _to_value(inputs[spec.name], spec.name, spec.dtype) for spec in specs}
    check_shapes(arrays, [spec for spec in specs if is_tensor(spec.dtype)], max_rows)
    return arrays


def _to_value(value: Any, name: str, dtype: str) -> Any:
    """Return a tensor, a list of values for a sequence, a dictionary for a map, None for an absent optional value."""
    if is_tensor(dtype):
        return to_dtype(value, TensorSpec(name=name, dtype=dtype, shape=[]))
    *keys, inner = inner_types(dtype)
    if dtype.startswith("optional("):
        return None if value is None else _to_value(value, name, inner)
    if not keys:
        if not isinstance(value, list):
            raise invalid_input(f"The input {name!r} takes a list of values, each {inner}.", name)
        return [_to_value(item, name, inner) for item in value]
    if not isinstance(value, dict):
        raise invalid_input(f"The input {name!r} takes an object, {keys[0]} to {inner}.", name)
    try:
        return {
            (key if keys[0] == "str" else int(key)): _to_value(item, name, inner).item() for key, item in value.items()
        }
    except ValueError as error:
        raise invalid_input(
            f"The keys of the input {name!r} must be whole numbers, and its values single ones.", name
        ) from error


def to_dtype(value: Any, spec: TensorSpec) -> Array:
    """Return a nested list as an array of an input's element type, in the shape of the list.

    Raises:
        FaceterError: `INVALID_INPUT`, naming the input.
    """
    try:
        given = np.array(value)
    except (ValueError, OverflowError) as error:
        raise invalid_input(
            f"The input {spec.name!r} is ragged: all lists at the same depth must have the same length.", spec.name
        ) from error
    if given.size == 0:
        raise invalid_input(f"The input {spec.name!r} is empty.", spec.name)
    if spec.dtype == "str":
        if given.dtype.kind != "U":
            raise invalid_input(f"The input {spec.name!r} takes text, not {_content_type(given)}.", spec.name)
        return given.astype(object)
    dtype = np.dtype("float32" if spec.dtype == "bfloat16" else spec.dtype)
    if dtype.kind == "b":
        if given.dtype.kind != "b":
            raise invalid_input(f"The input {spec.name!r} takes true and false, not {_content_type(given)}.", spec.name)
        return given
    if given.dtype.kind not in "iuf":
        raise invalid_input(
            f"The input {spec.name!r} takes numbers ({spec.dtype}), not {_content_type(given)}.", spec.name
        )
    if given.dtype.kind == "f" and not np.isfinite(given).all():
        raise invalid_input(f"The input {spec.name!r} holds a number too large for {spec.dtype}.", spec.name)
    return _float(given, dtype, spec.name) if dtype.kind == "f" else _integer(given, value, dtype, spec.name)


def _content_type(array: Array) -> str:
    return {"U": "text", "b": "true or false", "O": "null, objects or numbers beyond 64 bits"}.get(
        array.dtype.kind, "numbers"
    )


def _float(given: Array, dtype: np.dtype[Any], name: str) -> Array:
    with np.errstate(over="ignore"):
        array = given.astype(dtype)
    if not np.isfinite(array).all():
        raise invalid_input(f"The input {name!r} holds a number too large for {dtype.name}.", name)
    return array


def _integer(given: Array, value: Any, dtype: np.dtype[Any], name: str) -> Array:
    if given.dtype.kind == "f":
        whole = given == np.trunc(given)
        if not whole.all():
            raise invalid_input(
                f"The input {name!r} takes whole numbers ({dtype.name}), not {given[~whole].flat[0]}.", name
            )
        if np.abs(given).max() > _EXACT_IN_FLOAT64:
            given = _to_exact_integers(value, name)
    limits = np.iinfo(dtype)
    smallest, largest = int(given.min()), int(given.max())
    if smallest < limits.min or largest > limits.max:
        raise invalid_input(
            f"The input {name!r} holds a number outside {dtype.name}: {limits.min} to {limits.max}.", name
        )
    return given.astype(dtype)


def _to_exact_integers(value: Any, name: str) -> Array:
    """Return large integers as Python integers, because numpy converts a list such as [2**63, 1] to floats."""
    exact = np.array(value, dtype=object)
    if not all(isinstance(number, int) for number in exact.flat):
        raise invalid_input(
            f"The input {name!r} has a number that is not exact; write it without a decimal point.", name
        )
    return exact
