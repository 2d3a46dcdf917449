from typing import Any

import numpy as np
import pytest

from app.services.inference_protocol.datatypes import DATATYPES, NUMPY_DTYPES
from app.services.inference_protocol.tensors import InputTensor, OutputTensor, classified, to_array, to_output
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import TensorSpec


def spec(dtype: str) -> TensorSpec:
    return TensorSpec(name="x", dtype=dtype, shape=["n"])


def refused(content: Any, datatype: str = "FP32", shape: tuple[int, ...] = (2,), dtype: str = "float32") -> str:
    with pytest.raises(FaceterError) as caught:
        to_array(InputTensor("x", datatype, shape, content), spec(dtype))
    assert caught.value.kind is ProblemKind.INVALID_INPUT
    assert "'x'" in caught.value.detail
    return caught.value.detail


@pytest.mark.parametrize("dtype", [dtype for dtype, name in DATATYPES.items() if name not in ("BF16", "BYTES")])
def test_bytes_become_the_array_that_they_are_without_a_copy(dtype: str) -> None:
    content = np.array([1, 0, 1, 1, 0, 0]).astype(dtype).tobytes()
    array = to_array(InputTensor("x", DATATYPES[dtype], (2, 3), memoryview(content)), spec(dtype))
    assert array.dtype == np.dtype(dtype)
    assert array.tolist() == np.array([[1, 0, 1], [1, 0, 0]]).astype(dtype).tolist()
    assert np.shares_memory(array, np.frombuffer(content, np.uint8))


def test_bytes_at_an_odd_address_are_copied_to_an_even_one() -> None:
    content = memoryview(b"." + np.array([1, 2], np.float32).tobytes())[1:]
    array = to_array(InputTensor("x", "FP32", (2,), content), spec("float32"))
    assert array.flags.aligned
    assert array.tolist() == [1, 2]


def test_bfloat16_becomes_float32() -> None:
    content = np.array([0x3F80, 0xC000, 0x7F80], np.uint16).tobytes()
    array = to_array(InputTensor("x", "BF16", (3,), content), spec("bfloat16"))
    assert array.dtype == np.float32
    assert array.tolist() == [1, -2, np.inf]


@pytest.mark.parametrize("content", [[["a", "bé"]], ["a", "bé"], b"\1\0\0\0a\3\0\0\0b\xc3\xa9"])
def test_texts_become_objects(content: Any) -> None:
    array = to_array(InputTensor("x", "BYTES", (1, 2), content), spec("str"))
    assert array.dtype == object
    assert array.tolist() == [["a", "bé"]]


@pytest.mark.parametrize("content", [[[1, 2]], [[1], [2]], [1, 2]])
def test_lists_are_flat_or_nested(content: Any) -> None:
    assert to_array(InputTensor("x", "INT32", (1, 2), content), spec("int32")).tolist() == [[1, 2]]


def test_another_datatype_is_named() -> None:
    assert "takes FP32, not 'INT64'" in refused([1, 2], "INT64")


def test_a_size_that_does_not_fit_is_named() -> None:
    assert "has 7 bytes; FP32 of shape [2] needs 8" in refused(bytes(7))
    assert "has 3 elements; FP32 of shape [2] needs 2" in refused([1, 2, 3])
    assert "has 1 elements" in refused(b"\1\0\0\0a", "BYTES", (2,), "str")
    assert "needs 80000000000000000000" in refused(b"", shape=(10**10, 2 * 10**9))


def test_content_of_another_kind_is_refused() -> None:
    assert "negative" in refused([1], shape=(-1, -1))
    assert "empty" in refused(b"", shape=(0, 2))
    assert "other than 0 and 1" in refused(b"\0\2", "BOOL", (2,), "bool")
    assert "outside uint8" in refused([1, 256], "UINT8", (2,), "uint8")
    assert "binary" in refused([1, 2], "BF16", (2,), "bfloat16")
    assert "takes text" in refused(["a", 1], "BYTES", (2,), "str")
    assert "no tensor" in refused([1, 2], "FP32", (2,), "sequence(float32)")


def test_outputs_have_bytes_and_values() -> None:
    output = to_output("y", "float16", np.array([[1, 2]], np.float16))
    assert (output.datatype, output.shape, output.values()) == ("FP16", [1, 2], [1, 2])
    assert bytes(output.raw()) == np.array([1, 2], np.float16).tobytes()
    turned = to_output("y", "int32", np.arange(6, dtype=np.int32).reshape(2, 3).T)
    assert bytes(turned.raw()) == np.array([0, 3, 1, 4, 2, 5], np.int32).tobytes()
    assert to_output("y", "int64", np.int64(3)).shape == []
    texts = to_output("y", "str", np.array(["a", ""], object))
    assert (texts.raw(), texts.values()) == (b"\1\0\0\0a\0\0\0\0", ["a", ""])


def test_a_bfloat16_output_is_binary_only() -> None:
    output = to_output("y", "bfloat16", np.array([1.0], np.float32))
    assert bytes(output.raw()) == b"\x80\x3f"
    with pytest.raises(FaceterError, match="binary"):
        output.values()


def test_classes_are_the_highest_values_with_their_labels() -> None:
    scores = np.array([[0.5, 2, -1], [3, 3, 4]], np.float32)
    output = classified("y", scores, 2, ["cat", "dog", "emu"])
    assert (output.datatype, output.shape) == ("BYTES", [2, 2])
    assert output.values() == ["2.000000:1:dog", "0.500000:0:cat", "4.000000:2:emu", "3.000000:0:cat"]
    assert classified("y", scores[0], 9, ["too", "few"]).values() == ["2.000000:1", "0.500000:0", "-1.000000:2"]
    with pytest.raises(FaceterError, match="no numbers"):
        classified("y", np.array(["a"], object), 1, None)


def test_every_datatype_has_a_size() -> None:
    assert set(NUMPY_DTYPES) == set(DATATYPES.values()) - {"BYTES"}
    assert OutputTensor("y", "BF16", np.zeros(3, np.uint16)).shape == [3]
