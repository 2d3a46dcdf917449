"""Operators in older opsets, and edge cases, against ONNX Runtime."""

from itertools import product
from typing import Any

import numpy as np
import pytest

from tests.workers.operators.single_node import RANDOM, check, floats, ints


@pytest.mark.parametrize("opset", [11, 12, 13, 21])
@pytest.mark.parametrize("op_type", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_softmax_runs_over_all_later_axes_before_opset_13(op_type: str, opset: int, axis: int | None) -> None:
    check(op_type, opset, {"x": floats(2, 3, 4)}, **({} if axis is None else {"axis": axis}))


@pytest.mark.parametrize("op_type", ["Squeeze", "Unsqueeze"])
@pytest.mark.parametrize("opset", [11, 13, 21])
def test_axes_are_an_attribute_before_opset_13(op_type: str, opset: int) -> None:
    x = {"x": floats(1, 3, 1, 2)}
    if opset < 13:
        check(op_type, opset, x, axes=[0, 2])
    else:
        check(op_type, opset, x, constants={"axes": ints(0, -2)})


@pytest.mark.parametrize(
    "op_type",
    [
        "ReduceSum",
        "ReduceMean",
        "ReduceMax",
        "ReduceMin",
        "ReduceProd",
        "ReduceL1",
        "ReduceL2",
        "ReduceSumSquare",
        "ReduceLogSum",
        "ReduceLogSumExp",
    ],
)
@pytest.mark.parametrize("opset", [11, 13, 18])
@pytest.mark.parametrize(("axes", "keepdims"), [([1], 1), ([0, -1], 0), (None, 1), (None, 0)])
def test_reductions(op_type: str, opset: int, axes: list[int] | None, keepdims: int) -> None:
    x = {"x": np.abs(floats(2, 3, 4)) + 0.1}
    from_input = opset >= (13 if op_type == "ReduceSum" else 18)
    if axes is None:
        check(op_type, opset, x, keepdims=keepdims)
    elif from_input:
        check(op_type, opset, x, constants={"axes": ints(*axes)}, keepdims=keepdims)
    else:
        check(op_type, opset, x, axes=axes, keepdims=keepdims)


def test_a_reduction_over_no_axes() -> None:
    check("ReduceSum", 13, {"x": floats(2, 3)}, noop_with_empty_axes=1)


@pytest.mark.parametrize("opset", [11, 13, 14, 15, 21])
def test_batch_normalization(opset: int) -> None:
    constants = {name: np.abs(floats(3)) + 0.1 for name in ("scale", "bias", "mean", "variance")}
    check("BatchNormalization", opset, {"x": floats(2, 3, 4, 5)}, constants=constants, epsilon=1e-3)


@pytest.mark.parametrize(
    ("opset", "dtype"), [(11, np.float32), *product([12, 13, 21], [np.float32, np.int8, np.uint8, np.int32])]
)
def test_clip(opset: int, dtype: type[np.generic]) -> None:
    x = {"x": (floats(4, 5) * 20 + 30).astype(dtype)}
    low, high = np.array(10, dtype), np.array(40, dtype)
    check("Clip", opset, x, constants={"low": low, "high": high})
    check("Clip", opset, x, constants={"high": high}, order=["x", "", "high"])
    check("Clip", opset, x)


@pytest.mark.parametrize("op_type", ["Min", "Max"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int64, np.float32])
def test_extremes_of_any_type(op_type: str, dtype: type[np.generic]) -> None:
    x = {"a": (floats(4, 5) * 9 + 20).astype(dtype), "b": (floats(5) * 9 + 20).astype(dtype)}
    check(op_type, 13, x)


@pytest.mark.parametrize("opset", [11, 12, 13, 21])
def test_dropout_in_inference_mode(opset: int) -> None:
    x = {"x": floats(3, 4)}
    if opset < 12:
        check("Dropout", opset, x, ratio=0.5)
    else:
        check("Dropout", opset, x, outputs=2, constants={"ratio": np.float32(0.5)})


@pytest.mark.parametrize("opset", [11, 13, 18])
def test_split(opset: int) -> None:
    x = {"x": floats(2, 7)}
    if opset < 13:
        check("Split", opset, x, outputs=2, axis=1, split=[3, 4])
    else:
        check("Split", opset, x, outputs=2, axis=1, constants={"split": ints(3, 4)})
    if opset >= 18:
        check("Split", opset, x, outputs=3, axis=1, num_outputs=3)


@pytest.mark.parametrize(("opset", "axis"), [(11, None), *product([13, 19, 21], [None, 0, 1])])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_quantization(opset: int, dtype: type[np.generic], axis: int | None) -> None:
    size = () if axis is None else ([4, 5][axis],)
    scale = np.abs(floats(*size)).astype(np.float32) * 0.05 + 0.01
    zero_point = np.full(size, 3, dtype)
    settings = {} if axis is None else {"axis": axis}
    constants = {"scale": scale, "zero_point": zero_point}
    check("QuantizeLinear", opset, {"x": floats(4, 5, 6) * 4}, constants=constants, **settings)
    codes = {"x": RANDOM.integers(0, 256, (4, 5, 6)).astype(np.uint8).view(dtype)}
    check("DequantizeLinear", opset, codes, constants=constants, **settings)


def test_rounding_ties_go_to_the_even_code() -> None:
    ties = {"x": np.arange(-6, 7, dtype=np.float32) / 2}
    check("QuantizeLinear", 13, ties, constants={"scale": np.float32(1), "zero_point": np.uint8(4)})


@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint32, np.uint64])
def test_shifts(direction: str, dtype: type[np.generic]) -> None:
    x = {"a": np.array([1, 200, 77], dtype), "b": np.array([1, 2, 3], dtype)}
    check("BitShift", 11, x, direction=direction)


@pytest.mark.parametrize("op_type", ["BitwiseAnd", "BitwiseOr", "BitwiseXor"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32])
def test_bits(op_type: str, dtype: type[np.generic]) -> None:
    check(op_type, 18, {"a": np.array([1, 100, 77], dtype), "b": np.array([3, 64, 15], dtype)})


@pytest.mark.parametrize("to", [1, 2, 3, 6, 7, 9, 10, 11])
@pytest.mark.parametrize("dtype", [np.float32, np.uint8, np.int64, np.bool_])
def test_cast(to: int, dtype: type[np.generic]) -> None:
    check("Cast", 13, {"x": np.array([0, 1, 5.7, 100.2], np.float32).astype(dtype)}, to=to)


@pytest.mark.parametrize("opset", [11, 13, 17])
def test_division_of_integers_goes_towards_zero(opset: int) -> None:
    check("Div", opset, {"a": np.array([-7, 7, -8], np.int32), "b": np.array([2, -2, 3], np.int32)})


@pytest.mark.parametrize(
    ("op_type", "hidden", "gates"), [("RNN", 5, 1), ("GRU", 5, 3), ("LSTM", 5, 4)], ids=["rnn", "gru", "lstm"]
)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("padded", [False, True])
def test_recurrent_layers(op_type: str, hidden: int, gates: int, direction: str, padded: bool) -> None:
    directions = 2 if direction == "bidirectional" else 1
    constants: dict[str, Any] = {
        "w": floats(directions, gates * hidden, 3) * 0.5,
        "r": floats(directions, gates * hidden, hidden) * 0.5,
        "b": floats(directions, 2 * gates * hidden) * 0.5,
        "lengths": np.array([4, 7] if padded else [7, 7], np.int32),
        "h": floats(directions, 2, hidden),
    }
    settings: dict[str, Any] = {"hidden_size": hidden, "direction": direction}
    if op_type == "GRU":
        settings["linear_before_reset"] = int(padded)
    outputs = 3 if op_type == "LSTM" else 2
    check(op_type, 14, {"x": floats(7, 2, 3)}, constants=constants, outputs=outputs, **settings)


@pytest.mark.parametrize("opset", [11, 13])
@pytest.mark.parametrize(
    ("op_type", "settings"),
    [("GatherElements", {"axis": 1}), ("ScatterElements", {"axis": 1}), ("Gather", {"axis": 1})],
)
def test_indices_from_the_end(opset: int, op_type: str, settings: dict[str, int]) -> None:
    x: dict[str, Any] = {"x": floats(3, 5), "indices": RANDOM.integers(-5, 5, (3, 2))}
    if op_type == "ScatterElements":
        x["indices"] = np.array([[0, -1], [1, -2], [2, -3]])
        x["updates"] = floats(3, 2)
    check(op_type, opset, x, **settings)


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
def test_scatter_by_tuples(reduction: str) -> None:
    x = {"x": floats(4, 3), "indices": np.array([[1], [-1], [0]]), "updates": floats(3, 3)}
    check("ScatterND", 18, x, reduction=reduction)


@pytest.mark.parametrize(
    ("starts", "ends", "steps"), [((1, 0), (3, 100), (1, 2)), ((-1, -2), (-100, 0), (-1, -2)), ((3, 2), (1, 2), (1, 1))]
)
def test_slices(starts: tuple[int, int], ends: tuple[int, int], steps: tuple[int, int]) -> None:
    constants = {"starts": ints(*starts), "ends": ints(*ends), "axes": ints(0, -1), "steps": ints(*steps)}
    check("Slice", 13, {"x": floats(5, 2, 6)}, constants=constants)


@pytest.mark.parametrize("opset", [18, 21])
def test_group_normalization_has_a_scale_per_group_before_opset_21(opset: int) -> None:
    size = 2 if opset < 21 else 6
    constants = {"scale": floats(size), "bias": floats(size)}
    check("GroupNormalization", opset, {"x": floats(2, 6, 3, 3)}, constants=constants, num_groups=2)


@pytest.mark.parametrize("transposed", [(0, 0), (1, 0), (0, 1), (1, 1)])
@pytest.mark.parametrize("factors", [(1.0, 1.0), (0.5, 2.0)])
def test_gemm(transposed: tuple[int, int], factors: tuple[float, float]) -> None:
    a, b = floats(3, 4), floats(4, 5)
    inputs = {"a": a.T.copy() if transposed[0] else a}
    constants = {"b": b.T.copy() if transposed[1] else b, "c": floats(5)}
    settings = {"transA": transposed[0], "transB": transposed[1], "alpha": factors[0], "beta": factors[1]}
    check("Gemm", 13, inputs, constants=constants, **settings)


@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("axis", [0, -1])
def test_top_k(largest: int, axis: int) -> None:
    x = {"x": RANDOM.integers(0, 5, (4, 6)).astype(np.float32)}
    check("TopK", 11, x, constants={"k": ints(3)}, outputs=2, largest=largest, axis=axis)
