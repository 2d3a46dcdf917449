from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from faceter.graphs.blocking import block_convolutions
from faceter.graphs.layouts import apply_layout
from faceter.graphs.qdq import write_qdq
from tests.graphs.builders import Array, GraphBuilder, constants, optimized_operators, residual_net, run_optimized
from tests.graphs.min_max import min_max_plan


def normal(*shape: int) -> Array:
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def widths(model: onnx.ModelProto) -> list[int]:
    """Return the output channels of each convolution's weights as they are served."""
    codes = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    values = constants(model)
    return [values[codes[node.input[1]]].shape[0] for node in model.graph.node if node.op_type == "Conv"]


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"strides": [2, 2]},
        {"strides": [1, 2], "pads": [1, 1, 0, 2]},
        {"pads": [0, 0, 0, 0]},
        {"dilations": [2, 2], "pads": [2, 2, 2, 2]},
        {"group": 4},
    ],
)
def test_blocking_is_bit_identical(settings: dict[str, Any], per_channel: bool) -> None:
    net = GraphBuilder(["n", 4, 12, 16])
    net.conv(8, 4, **settings)
    net.add("Relu")
    net.conv(6, 8)
    x = normal(3, 4, 12, 16)
    for bits in (8, 3):
        plan = min_max_plan(net.build(), weight_bits=bits, activation_bits=bits, per_channel=per_channel, x=x)
        plain = write_qdq(plan)
        blocked = block_convolutions(plain, 64)
        onnx.checker.check_model(blocked, full_check=True)
        expected = run_optimized(plain, x=x)[0]
        np.testing.assert_array_equal(run_optimized(blocked, x=x)[0], expected)


@pytest.mark.parametrize(
    ("outputs", "width", "expected"), [(8, 16, 64), (8, 12, 32), (8, 15, 8), (24, 16, 48), (64, 16, 64)]
)
def test_the_number_of_pixels_divides_the_row(outputs: int, width: int, expected: int) -> None:
    net = GraphBuilder([1, 4, 6, width])
    net.conv(outputs, 4)
    x = normal(1, 4, 6, width)
    assert widths(block_convolutions(write_qdq(min_max_plan(net.build(), x=x)), 64)) == [expected]


def test_pointwise_and_depthwise_convolutions_are_not_blocked() -> None:
    net = GraphBuilder([1, 4, 8, 8])
    net.conv(4, 4, 1)
    net.conv(4, 4, group=4)
    x = normal(1, 4, 8, 8)
    assert widths(block_convolutions(write_qdq(min_max_plan(net.build(), x=x)), 64)) == [4, 4]


def test_a_runtime_needs_no_transposes_between_layers(tmp_path: Path) -> None:
    image = normal(2, 3, 16, 16)
    model = apply_layout(write_qdq(min_max_plan(residual_net(), image=image)), "u8s8-blocks")
    operators = optimized_operators(model, tmp_path)
    assert operators["Transpose"] <= 2
    assert operators["Conv"] == operators["Concat"] == operators["Pad"] == 0
