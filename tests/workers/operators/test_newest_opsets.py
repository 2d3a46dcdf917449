"""Operators that opsets 20 to 26 brought, against ONNX Runtime."""

from typing import Any

import numpy as np
import onnx
import pytest

from tests.workers.onnxruntime_reference import assert_equal_to_onnxruntime, one_node
from tests.workers.operators.single_node import check, floats, ints


@pytest.mark.parametrize("alpha", [1.0, 1.702])
def test_swish(alpha: float) -> None:
    check("Swish", 24, {"x": floats(2, 5) * 4}, alpha=alpha)


@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize("opset", [23, 24, 25])
def test_rms_normalization(axis: int, opset: int) -> None:
    x = {"x": floats(2, 3, 4)}
    scale = floats(*((4,) if axis == -1 else (3, 4)))
    check("RMSNormalization", opset, x, constants={"scale": scale}, axis=axis, epsilon=1e-3)


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("width", [0, 4])
def test_rotary_embedding(interleaved: int, width: int) -> None:
    angles = floats(10, (width or 8) // 2)
    check(
        "RotaryEmbedding",
        23,
        {"x": floats(2, 3, 5, 8)},
        constants={"cos": np.cos(angles), "sin": np.sin(angles), "ids": np.tile(ints(0, 3, 2, 9, 1), (2, 1))},
        interleaved=interleaved,
        rotary_embedding_dim=width,
    )


@pytest.mark.parametrize("opset", [23, 24])
@pytest.mark.parametrize("settings", [{}, {"is_causal": 1}, {"scale": 0.3, "softcap": 2.0}])
def test_attention(opset: int, settings: dict[str, Any]) -> None:
    inputs = {"q": floats(2, 4, 5, 8), "k": floats(2, 2, 6, 8), "v": floats(2, 2, 6, 8)}
    check("Attention", opset, inputs, **settings)


@pytest.mark.parametrize("opset", [23, 24])
def test_attention_with_a_mask(opset: int) -> None:
    inputs = {"q": floats(1, 2, 4, 8), "k": floats(1, 2, 4, 8), "v": floats(1, 2, 4, 8)}
    check("Attention", opset, inputs, constants={"mask": np.tril(np.ones((4, 4), bool))})


@pytest.mark.parametrize("mode", ["linear", "circular"])
def test_tensor_scatter(mode: str) -> None:
    inputs = {"cache": floats(2, 3, 6, 4), "update": floats(2, 3, 2, 4)}
    start = ints(1, 5) if mode == "circular" else ints(1, 4)
    check("TensorScatter", 24, inputs, constants={"start": start}, mode=mode)


@pytest.mark.parametrize(("dtype", "to"), [("float32", "int32"), ("int64", "float64"), ("uint8", "int8")])
def test_bit_cast(dtype: str, to: str) -> None:
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(to))
    check("BitCast", 26, {"x": (floats(3, 4) * 100).astype(dtype)}, to=kind)


@pytest.mark.parametrize(("bins", "length", "rate"), [(8, 64, 8000), (20, 16, 8192)])
def test_mel_weight_matrix(bins: int, length: int, rate: int) -> None:
    numbers = {"bins": np.int64(bins), "length": np.int64(length), "rate": np.int64(rate)}
    edges = {"low": np.float32(20), "high": np.float32(rate / 2)}
    order = [*numbers, *edges]
    inputs = {name: np.asarray(value) for name, value in (numbers | edges).items()}
    assert_equal_to_onnxruntime(one_node("MelWeightMatrix", inputs, 17, order=order), inputs)
