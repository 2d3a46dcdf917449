import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from app.services.predictions.json_inputs import inputs_of, parse_body, to_arrays
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import TensorSpec


def spec(dtype: str = "float32", shape: list[int | str | None] | None = None, name: str = "x") -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, shape=["batch", 2] if shape is None else shape)


def one(value: Any, dtype: str = "float32", shape: list[int | str | None] | None = None) -> np.ndarray[Any, Any]:
    return to_arrays({"x": value}, [spec(dtype, shape)], max_rows=4)["x"]


def refused(inputs: Any, *specs: TensorSpec) -> FaceterError:
    with pytest.raises(FaceterError) as caught:
        to_arrays(inputs, specs or [spec()], max_rows=4)
    assert caught.value.kind is ProblemKind.INVALID_INPUT
    return caught.value


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        ([[1, 2.5]], "float32"),
        ([[1, 2]], "float16"),
        ([[1, 2]], "int64"),
        ([[1.0, 2.0]], "int64"),
        ([[0, 255]], "uint8"),
        ([[2**63, 2**64 - 1]], "uint64"),
        ([[2**64 - 1, 1]], "uint64"),
        ([[2**63 - 1, -(2**63)]], "int64"),
        ([[True, False]], "bool"),
    ],
)
def test_values_come_through_in_the_models_dtype(value: list[Any], dtype: str) -> None:
    array = one(value, dtype)
    assert array.dtype == np.dtype(dtype)
    assert array.tolist() == value


def test_text() -> None:
    array = one([["a", "bé"]], "str")
    assert array.dtype == object
    assert array.tolist() == [["a", "bé"]]


def test_a_scalar() -> None:
    assert one(3, "int64", []).shape == ()


@pytest.mark.parametrize(
    ("value", "dtype", "words"),
    [
        ([[1, 2], [3]], "float32", "ragged"),
        ([[1, [2]]], "float32", "ragged"),
        ([["1", "2"]], "float32", "text"),
        ([[1, "2"]], "float32", "text"),
        ([[None, 1]], "float32", "null"),
        ([[{}, {}]], "float32", "objects"),
        ([[True, False]], "float32", "true or false"),
        ([[1e39, 0]], "float32", "too large"),
        ([[1e308 * 10, 0]], "float64", "too large"),
        ([[70000, 0]], "float16", "too large"),
        ([[1.5, 2]], "int64", "1.5"),
        ([[1e300, 2]], "int64", "exact"),
        ([[300, 2]], "uint8", "0 to 255"),
        ([[-1, 2]], "uint8", "0 to 255"),
        ([[2**63, 1]], "int64", "outside"),
        ([[2**64, 1]], "uint64", "64 bits"),
        ([[1, 2]], "bool", "numbers"),
        ([[1, 2]], "str", "numbers"),
        ([], "float32", "empty"),
        ([[]], "float32", "empty"),
        ("text", "float32", "text"),
        (None, "float32", "null"),
    ],
)
def test_values_that_do_not_fit_are_refused(value: Any, dtype: str, words: str) -> None:
    error = refused({"x": value}, spec(dtype))
    assert words in error.detail
    assert [problem.field for problem in error.errors] == ["inputs.x"]


@pytest.mark.parametrize("value", [[1, 2], [[1, 2, 3]], [[[1, 2]]], 5])
def test_wrong_shapes_say_both(value: Any) -> None:
    error = refused({"x": value})
    assert str(list(np.shape(value))) in error.detail
    assert "[batch, 2]" in error.detail


def test_too_many_rows() -> None:
    assert "5 rows" in refused({"x": [[1, 2]] * 5}).detail


def test_sizes_of_one_name_are_equal() -> None:
    specs = [spec(name="a"), spec(name="b")]
    error = refused({"a": [[1, 2]], "b": [[1, 2]] * 2}, *specs)
    assert "'a'" in error.detail
    assert "'b'" in error.detail


def test_missing_and_unknown_inputs() -> None:
    assert "'x' is missing" in refused({}).detail
    assert "no input 'y'" in refused({"x": [[1, 2]], "y": 1}).detail


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_text_for_nonfinite_numbers(word: str) -> None:
    with pytest.raises(FaceterError) as caught:
        inputs_of(parse_body(f'{{"inputs": {{"x": [[{word}, 1]]}}}}'.encode()))
    assert caught.value.kind is ProblemKind.INVALID_INPUT
    assert word in caught.value.detail


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b'{"inputs": {"x": ' + b"[" * 100_000, b"1" * 5000, b"{'inputs': 1}"]
)
def test_bodies_that_are_not_json(body: bytes) -> None:
    with pytest.raises(FaceterError) as caught:
        inputs_of(parse_body(body))
    assert caught.value.kind in (ProblemKind.MALFORMED_BODY,)


def test_sequences_maps_and_optional_values() -> None:
    (first, second) = one([[[1, 2]], [[3, 4], [5, 6]]], "sequence(float32)", [])
    assert first.dtype == np.float32
    assert second.tolist() == [[3, 4], [5, 6]]
    assert to_arrays({"x": {"a": 1.5, "b": 2}}, [spec("map(str, float32)", [])], max_rows=4)["x"] == {"a": 1.5, "b": 2}
    assert to_arrays({"x": {"7": 1}}, [spec("map(int64, int64)", [])], max_rows=4)["x"] == {7: 1}
    assert to_arrays({"x": None}, [spec("optional(float32)", [])], max_rows=4)["x"] is None
    assert to_arrays({"x": [1]}, [spec("optional(int64)", [])], max_rows=4)["x"].tolist() == [1]


@pytest.mark.parametrize(
    ("value", "dtype", "said"),
    [
        (3, "sequence(float32)", "takes a list of values, each float32"),
        ([["a"]], "sequence(float32)", "takes numbers"),
        ([1], "map(str, float32)", "takes an object, str to float32"),
        ({"a": 1}, "map(int64, float32)", "must be whole numbers"),
        ({"a": [1, 2]}, "map(str, float32)", "single ones"),
        (None, "sequence(int64)", "takes a list"),
    ],
)
def test_sequences_and_maps_of_another_form(value: Any, dtype: str, said: str) -> None:
    assert said in refused({"x": value}, spec(dtype, [])).detail


def test_bfloat16_is_read_as_float32() -> None:
    assert one([[1, 2.5]], "bfloat16").dtype == np.float32


@pytest.mark.parametrize("document", [[], {}, 1, {"inputs": []}, {"inputs": None}, {"inputs": {}, "extra": 1}])
def test_json_of_another_form(document: Any) -> None:
    with pytest.raises(FaceterError) as caught:
        inputs_of(parse_body(json.dumps(document).encode()))
    assert caught.value.kind is ProblemKind.INVALID_REQUEST


@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.int32, np.int64, np.uint8]),
        hnp.array_shapes(min_dims=1, max_dims=4, max_side=4),
        elements={"allow_nan": False, "allow_infinity": False},
    )
)
def test_every_array_survives_a_json_round_trip(array: np.ndarray[Any, Any]) -> None:
    body = json.dumps({"inputs": {"x": array.tolist()}}).encode()
    shape: list[int | str | None] = [None] * array.ndim
    back = to_arrays(inputs_of(parse_body(body)), [spec(array.dtype.name, shape)], max_rows=4)["x"]
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), lambda inner: st.lists(inner)))
def test_arbitrary_inputs_are_converted_or_refused(value: Any) -> None:
    for dtype in ("float32", "int64", "bool", "str"):
        assert outcome(value, dtype) in ("[batch, 2]", ProblemKind.INVALID_INPUT)


def outcome(value: Any, dtype: str) -> object:
    try:
        shape = one(value, dtype).shape
    except FaceterError as error:
        return error.kind
    return f"[batch, {shape[1]}]" if len(shape) == 2 else shape
