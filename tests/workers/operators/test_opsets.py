"""Operators as older opsets define them, and their corners, against ONNX Runtime."""

from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.workers.onnxruntime_reference import assert_equal_to_onnxruntime, one_node

_random = np.random.default_rng(20260704)


def _floats(*shape: int) -> NDArray[np.float32]:
    return _random.standard_normal(shape).astype(np.float32)


def _ints(*values: int) -> NDArray[np.int64]:
    return np.array(values, dtype=np.int64)


def _check(op_type: str, opset: int, inputs: dict[str, Any], **settings: Any) -> None:
    assert_equal_to_onnxruntime(one_node(op_type, inputs, opset, **settings), inputs)


@pytest.mark.parametrize("opset", [11, 12, 13, 21])
@pytest.mark.parametrize("op_type", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_softmax_runs_over_all_later_axes_before_opset_13(op_type: str, opset: int, axis: int | None) -> None:
    _check(op_type, opset, {"x": _floats(2, 3, 4)}, **({} if axis is None else {"axis": axis}))


@pytest.mark.parametrize("op_type", ["Squeeze", "Unsqueeze"])
@pytest.mark.parametrize("opset", [11, 13, 21])
def test_axes_are_an_attribute_before_opset_13(op_type: str, opset: int) -> None:
    x = {"x": _floats(1, 3, 1, 2)}
    if opset < 13:
        _check(op_type, opset, x, axes=[0, 2])
    else:
        _check(op_type, opset, x, constants={"axes": _ints(0, -2)})


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
    x = {"x": np.abs(_floats(2, 3, 4)) + 0.1}
    from_input = opset >= (13 if op_type == "ReduceSum" else 18)
    if axes is None:
        _check(op_type, opset, x, keepdims=keepdims)
    elif from_input:
        _check(op_type, opset, x, constants={"axes": _ints(*axes)}, keepdims=keepdims)
    else:
        _check(op_type, opset, x, axes=axes, keepdims=keepdims)


def test_a_reduction_of_no_axes_may_change_nothing() -> None:
    _check("ReduceSum", 13, {"x": _floats(2, 3)}, noop_with_empty_axes=1)


@pytest.mark.parametrize("opset", [11, 13, 14, 15, 21])
def test_batch_normalization(opset: int) -> None:
    constants = {name: np.abs(_floats(3)) + 0.1 for name in ("scale", "bias", "mean", "variance")}
    _check("BatchNormalization", opset, {"x": _floats(2, 3, 4, 5)}, constants=constants, epsilon=1e-3)


@pytest.mark.parametrize(
    ("opset", "dtype"), [(11, np.float32), *product([12, 13, 21], [np.float32, np.int8, np.uint8, np.int32])]
)
def test_clip(opset: int, dtype: type[np.generic]) -> None:
    x = {"x": (_floats(4, 5) * 20 + 30).astype(dtype)}
    low, high = np.array(10, dtype), np.array(40, dtype)
    _check("Clip", opset, x, constants={"low": low, "high": high})
    _check("Clip", opset, x, constants={"high": high}, order=["x", "", "high"])
    _check("Clip", opset, x)


@pytest.mark.parametrize("op_type", ["Min", "Max"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int64, np.float32])
def test_extremes_of_any_type(op_type: str, dtype: type[np.generic]) -> None:
    x = {"a": (_floats(4, 5) * 9 + 20).astype(dtype), "b": (_floats(5) * 9 + 20).astype(dtype)}
    _check(op_type, 13, x)


@pytest.mark.parametrize("opset", [11, 12, 13, 21])
def test_dropout_does_nothing_when_not_training(opset: int) -> None:
    x = {"x": _floats(3, 4)}
    if opset < 12:
        _check("Dropout", opset, x, ratio=0.5)
    else:
        _check("Dropout", opset, x, outputs=2, constants={"ratio": np.float32(0.5)})


@pytest.mark.parametrize("opset", [11, 13, 18])
@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
@pytest.mark.parametrize("pads", [[0, 0, 1, 2, 0, 0, 2, 1], [0, 0, -1, 2, 0, 0, 1, -2]])
def test_pad(opset: int, mode: str, pads: list[int]) -> None:
    constants: dict[str, Any] = {"pads": _ints(*pads)}
    if mode == "constant":
        constants["value"] = np.float32(1.5)
    _check("Pad", opset, {"x": _floats(1, 2, 5, 6)}, constants=constants, mode=mode)


def test_pad_takes_axes_from_opset_18_and_wraps_from_19() -> None:
    x = {"x": _floats(2, 3, 4)}
    constants = {"pads": _ints(1, 2, 0, 1), "axes": _ints(1, -1)}
    _check("Pad", 18, x, constants=constants, order=["x", "pads", "", "axes"])
    _check("Pad", 19, x, constants={"pads": _ints(0, 1, 2, 0, 3, 1)}, mode="wrap")


@pytest.mark.parametrize("opset", [11, 13, 18])
def test_split(opset: int) -> None:
    x = {"x": _floats(2, 7)}
    if opset < 13:
        _check("Split", opset, x, outputs=2, axis=1, split=[3, 4])
    else:
        _check("Split", opset, x, outputs=2, axis=1, constants={"split": _ints(3, 4)})
    if opset >= 18:
        _check("Split", opset, x, outputs=3, axis=1, num_outputs=3)


_TRANSFORMATIONS = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]
_EXACT = [2.0, 0.5]
"""Scales whose coordinates have no rounding; symmetric half pixels at others fall on ties that the last bit decides."""


@pytest.mark.parametrize(
    ("opset", "transformation", "scale"),
    [
        *product([11, 13, 18, 19], _TRANSFORMATIONS, [*_EXACT, 1.7, 0.6]),
        *product([11], ["tf_half_pixel_for_nn"], [*_EXACT, 1.7, 0.6]),
        *product([19], ["half_pixel_symmetric"], _EXACT),
    ],
)
@pytest.mark.parametrize("nearest", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
def test_resize_nearest(opset: int, transformation: str, nearest: str, scale: float) -> None:
    constants = {"scales": np.array([1, 1, scale, scale], np.float32)}
    settings = {"coordinate_transformation_mode": transformation, "nearest_mode": nearest}
    if opset < 13:
        constants["roi"] = np.zeros(0, np.float32)
    order = ["x", "roi" if opset < 13 else "", "scales"]
    _check("Resize", opset, {"x": _floats(1, 2, 7, 8)}, constants=constants, order=order, mode="nearest", **settings)


@pytest.mark.parametrize("opset", [11, 13, 18, 19])
@pytest.mark.parametrize("transformation", _TRANSFORMATIONS)
@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("size", [(14, 16), (5, 11), (1, 8)])
def test_resize_by_weights(opset: int, transformation: str, mode: str, size: tuple[int, int]) -> None:
    constants = {"sizes": _ints(1, 2, *size), "roi": np.zeros(0, np.float32), "scales": np.zeros(0, np.float32)}
    order = ["x", "roi", "scales", "sizes"] if opset < 13 else ["x", "", "", "sizes"]
    _check(
        "Resize",
        opset,
        {"x": _floats(1, 2, 7, 8)},
        constants=constants if opset < 13 else {"sizes": constants["sizes"]},
        order=order,
        mode=mode,
        coordinate_transformation_mode=transformation,
    )


@pytest.mark.parametrize(("mode", "exclude_outside"), [("linear", 0), ("cubic", 0), ("cubic", 1)])
@pytest.mark.parametrize("size", [(14, 16), (5, 4), (3, 11)])
def test_resize_antialiased(mode: str, size: tuple[int, int], exclude_outside: int) -> None:
    constants = {"sizes": _ints(1, 2, *size)}
    x = {"x": _floats(1, 2, 9, 10)}
    settings = {"antialias": 1, "exclude_outside": exclude_outside, "mode": mode}
    _check("Resize", 18, x, constants=constants, order=["x", "", "", "sizes"], **settings)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_resize_crops(mode: str) -> None:
    constants = {"roi": np.array([0, 0, 0.2, -0.3, 1, 1, 0.9, 1.1], np.float32), "sizes": _ints(1, 2, 5, 6)}
    settings = {"coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 7.0, "mode": mode}
    _check("Resize", 13, {"x": _floats(1, 2, 7, 8)}, constants=constants, order=["x", "roi", "", "sizes"], **settings)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize(
    ("auto_pad", "dilation"),
    [("SAME_UPPER", 1), ("SAME_LOWER", 1), ("VALID", 1), ("VALID", 2), ("NOTSET", 1), ("NOTSET", 2)],
)
@pytest.mark.parametrize(("group", "strides"), [(1, 1), (2, 2), (4, 1), (4, 3)])
def test_convolutions(rank: int, auto_pad: str, group: int, strides: int, dilation: int) -> None:
    settings: dict[str, Any] = {"strides": [strides] * rank, "dilations": [dilation] * rank, "group": group}
    if auto_pad == "NOTSET":
        settings["pads"] = [1] * rank + [2] * rank
    weight = _floats(8, 4 // group, *[3, 2, 3][:rank])
    constants = {"weight": weight, "bias": _floats(8)}
    _check("Conv", 11, {"x": _floats(2, 4, *[9, 8, 7][:rank])}, constants=constants, auto_pad=auto_pad, **settings)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"pads": 1},
        {"pads": 1, "output_padding": 1},
        {"auto_pad": "SAME_UPPER"},
        {"auto_pad": "SAME_LOWER"},
        {"output_shape": 9},
        {"output_shape": 12},
        {"uneven": True},
        {"dilations": 2},
    ],
)
@pytest.mark.parametrize("group", [1, 2])
def test_transposed_convolutions(rank: int, settings: dict[str, Any], group: int) -> None:
    given: dict[str, Any] = {"strides": [2] * rank, "group": group}
    for name, value in settings.items():
        if name == "uneven":
            given["pads"] = [0] * rank + [1] * rank
        elif name == "auto_pad":
            given[name] = value
        else:
            given[name] = [value] * (2 * rank if name == "pads" else rank)
    constants = {"weight": _floats(4, 6 // group, *[3] * rank), "bias": _floats(6)}
    _check("ConvTranspose", 11, {"x": _floats(2, 4, *[5, 5, 5][:rank])}, constants=constants, **given)


_POOLINGS: list[dict[str, Any]] = [
    {},
    {"pads": 1},
    {"auto_pad": "SAME_UPPER"},
    {"auto_pad": "SAME_LOWER"},
    {"uneven": True},
]
_CEILED: list[dict[str, Any]] = [{"pads": 1, "ceil_mode": 1}]
_COUNTED: list[dict[str, Any]] = [
    {"pads": 1, "count_include_pad": 1},
    {"pads": 1, "ceil_mode": 1, "count_include_pad": 1},
]
_DILATED: list[dict[str, Any]] = [{"dilations": 2}]


@pytest.mark.parametrize(
    ("op_type", "opset", "settings"),
    [
        *product(["MaxPool"], [11, 12], [*_POOLINGS, *_CEILED, *_DILATED]),
        *product(["AveragePool"], [11, 19], [*_POOLINGS, *_CEILED, *_COUNTED]),
        *product(["AveragePool"], [19], _DILATED),
        *product(["LpPool"], [11, 18], _POOLINGS),
        *product(["LpPool"], [18], _DILATED),
    ],
)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_pools(op_type: str, opset: int, rank: int, settings: dict[str, Any]) -> None:
    given: dict[str, Any] = {"kernel_shape": [3] * rank, "strides": [2] * rank}
    for name, value in settings.items():
        if name == "uneven":
            given["pads"] = [0] * rank + [2] * rank
        elif name in ("pads", "dilations"):
            given[name] = [value] * (2 * rank if name == "pads" else rank)
        else:
            given[name] = value
    _check(op_type, opset, {"x": _floats(2, 3, *[10, 9, 8][:rank])}, **given)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("pads", [0, 1])
def test_positions_of_a_max_pool(rank: int, pads: int) -> None:
    x = {"x": _floats(2, 3, *[10, 9, 8][:rank])}
    settings = {"kernel_shape": [3] * rank, "strides": [2] * rank, "pads": [pads] * rank + [0] * rank}
    _check("MaxPool", 12, x, outputs=2, **settings)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_max_pool_of_codes(dtype: type[np.generic]) -> None:
    x = {"x": (_floats(1, 2, 6, 6) * 40).astype(np.int8).view(dtype)}
    _check("MaxPool", 12, x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])


@pytest.mark.parametrize(("opset", "axis"), [(11, None), *product([13, 19, 21], [None, 0, 1])])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_quantization(opset: int, dtype: type[np.generic], axis: int | None) -> None:
    size = () if axis is None else ([4, 5][axis],)
    scale = np.abs(_floats(*size)).astype(np.float32) * 0.05 + 0.01
    zero_point = np.full(size, 3, dtype)
    settings = {} if axis is None else {"axis": axis}
    constants = {"scale": scale, "zero_point": zero_point}
    _check("QuantizeLinear", opset, {"x": _floats(4, 5, 6) * 4}, constants=constants, **settings)
    codes = {"x": _random.integers(0, 256, (4, 5, 6)).astype(np.uint8).view(dtype)}
    _check("DequantizeLinear", opset, codes, constants=constants, **settings)


def test_rounding_ties_go_to_the_even_code() -> None:
    ties = {"x": np.arange(-6, 7, dtype=np.float32) / 2}
    _check("QuantizeLinear", 13, ties, constants={"scale": np.float32(1), "zero_point": np.uint8(4)})


@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint32, np.uint64])
def test_shifts(direction: str, dtype: type[np.generic]) -> None:
    x = {"a": np.array([1, 200, 77], dtype), "b": np.array([1, 2, 3], dtype)}
    _check("BitShift", 11, x, direction=direction)


@pytest.mark.parametrize("op_type", ["BitwiseAnd", "BitwiseOr", "BitwiseXor"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32])
def test_bits(op_type: str, dtype: type[np.generic]) -> None:
    _check(op_type, 18, {"a": np.array([1, 100, 77], dtype), "b": np.array([3, 64, 15], dtype)})


@pytest.mark.parametrize("to", [1, 2, 3, 6, 7, 9, 10, 11])
@pytest.mark.parametrize("dtype", [np.float32, np.uint8, np.int64, np.bool_])
def test_cast(to: int, dtype: type[np.generic]) -> None:
    _check("Cast", 13, {"x": np.array([0, 1, 5.7, 100.2], np.float32).astype(dtype)}, to=to)


@pytest.mark.parametrize("opset", [11, 13, 17])
def test_division_of_integers_goes_towards_zero(opset: int) -> None:
    _check("Div", opset, {"a": np.array([-7, 7, -8], np.int32), "b": np.array([2, -2, 3], np.int32)})


@pytest.mark.parametrize(
    ("op_type", "hidden", "gates"), [("RNN", 5, 1), ("GRU", 5, 3), ("LSTM", 5, 4)], ids=["rnn", "gru", "lstm"]
)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("padded", [False, True])
def test_recurrent_layers(op_type: str, hidden: int, gates: int, direction: str, padded: bool) -> None:
    directions = 2 if direction == "bidirectional" else 1
    constants: dict[str, Any] = {
        "w": _floats(directions, gates * hidden, 3) * 0.5,
        "r": _floats(directions, gates * hidden, hidden) * 0.5,
        "b": _floats(directions, 2 * gates * hidden) * 0.5,
        "lengths": np.array([4, 7] if padded else [7, 7], np.int32),
        "h": _floats(directions, 2, hidden),
    }
    settings: dict[str, Any] = {"hidden_size": hidden, "direction": direction}
    if op_type == "GRU":
        settings["linear_before_reset"] = int(padded)
    outputs = 3 if op_type == "LSTM" else 2
    _check(op_type, 14, {"x": _floats(7, 2, 3)}, constants=constants, outputs=outputs, **settings)


@pytest.mark.parametrize("opset", [11, 13])
@pytest.mark.parametrize(
    ("op_type", "settings"),
    [("GatherElements", {"axis": 1}), ("ScatterElements", {"axis": 1}), ("Gather", {"axis": 1})],
)
def test_indices_from_the_end(opset: int, op_type: str, settings: dict[str, int]) -> None:
    x: dict[str, Any] = {"x": _floats(3, 5), "indices": _random.integers(-5, 5, (3, 2))}
    if op_type == "ScatterElements":
        x["indices"] = np.array([[0, -1], [1, -2], [2, -3]])
        x["updates"] = _floats(3, 2)
    _check(op_type, opset, x, **settings)


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
def test_scatter_by_tuples(reduction: str) -> None:
    x = {"x": _floats(4, 3), "indices": np.array([[1], [-1], [0]]), "updates": _floats(3, 3)}
    _check("ScatterND", 18, x, reduction=reduction)


@pytest.mark.parametrize(
    ("starts", "ends", "steps"), [((1, 0), (3, 100), (1, 2)), ((-1, -2), (-100, 0), (-1, -2)), ((3, 2), (1, 2), (1, 1))]
)
def test_slices(starts: tuple[int, int], ends: tuple[int, int], steps: tuple[int, int]) -> None:
    constants = {"starts": _ints(*starts), "ends": _ints(*ends), "axes": _ints(0, -1), "steps": _ints(*steps)}
    _check("Slice", 13, {"x": _floats(5, 2, 6)}, constants=constants)


@pytest.mark.parametrize("opset", [18, 21])
def test_group_normalization_has_a_scale_per_group_before_opset_21(opset: int) -> None:
    size = 2 if opset < 21 else 6
    constants = {"scale": _floats(size), "bias": _floats(size)}
    _check("GroupNormalization", opset, {"x": _floats(2, 6, 3, 3)}, constants=constants, num_groups=2)


@pytest.mark.parametrize("transposed", [(0, 0), (1, 0), (0, 1), (1, 1)])
@pytest.mark.parametrize("factors", [(1.0, 1.0), (0.5, 2.0)])
def test_gemm(transposed: tuple[int, int], factors: tuple[float, float]) -> None:
    a, b = _floats(3, 4), _floats(4, 5)
    inputs = {"a": a.T.copy() if transposed[0] else a}
    constants = {"b": b.T.copy() if transposed[1] else b, "c": _floats(5)}
    settings = {"transA": transposed[0], "transB": transposed[1], "alpha": factors[0], "beta": factors[1]}
    _check("Gemm", 13, inputs, constants=constants, **settings)


@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("axis", [0, -1])
def test_top_k(largest: int, axis: int) -> None:
    x = {"x": _random.integers(0, 5, (4, 6)).astype(np.float32)}
    _check("TopK", 11, x, constants={"k": _ints(3)}, outputs=2, largest=largest, axis=axis)
