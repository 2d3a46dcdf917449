"""Detects whether this host's integer kernels saturate: they add products in 16 bits.

On hosts with AVX2 but no VNNI, ONNX Runtime multiplies uint8 by int8 with an instruction that adds pairs of products
in 16 bits: 255 · 127 · 2 = 64,770 becomes 32,767. 7-bit weights do not saturate: 255 · 64 · 2 = 32,640.
"""

from functools import cache

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from faceter.engines.base import Engine

_CHANNELS = 64
_INPUT, _WEIGHT = 255, 127
_ZERO_POINTS = (0, -1)
"""Of the weights: symmetric and asymmetric weights have different kernels."""


def sums_saturate(engine: Engine) -> bool:
    """Return whether a convolution of uint8 by int8 saturates when all codes are at their maximum.

    Measured once per process and engine, by two small convolutions.
    """
    return _saturates(engine)


@cache
def _saturates(engine: Engine) -> bool:
    return any(_sum_saturates(engine, zero_point) for zero_point in _ZERO_POINTS)


def _sum_saturates(engine: Engine, zero_point: int) -> bool:
    model = engine.load(_largest_sums(zero_point).SerializeToString(), threads=1)
    try:
        codes = model.run({"x": np.full((1, _CHANNELS, 8, 8), _INPUT, np.float32)})["y"]
    finally:
        model.close()
    return bool(codes.min() < _INPUT)


def _largest_sums(zero_point: int) -> onnx.ModelProto:
    """Return a convolution in QDQ form whose output is 255 everywhere if its sums are exact."""
    total = float(_INPUT * (_WEIGHT - zero_point) * _CHANNELS)
    constants = {
        "one": np.float32(1.0),
        "zero": np.uint8(0),
        "weight_zero": np.int8(zero_point),
        "w": np.full((_CHANNELS, _CHANNELS, 1, 1), _WEIGHT, np.int8),
        "step": np.float32(total / _INPUT),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "one", "zero"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "one", "zero"], ["xf"]),
        helper.make_node("DequantizeLinear", ["w", "one", "weight_zero"], ["wf"]),
        helper.make_node("Conv", ["xf", "wf"], ["c"]),
        helper.make_node("QuantizeLinear", ["c", "step", "zero"], ["cq"]),
        helper.make_node("DequantizeLinear", ["cq", "one", "zero"], ["y"]),
    ]
    shape = [1, _CHANNELS, 8, 8]
    graph = helper.make_graph(
        nodes,
        "largest_sums",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
