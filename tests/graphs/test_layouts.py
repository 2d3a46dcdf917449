from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from faceter.graphs.layouts import PLAIN, UNSIGNED, apply_layout, has_wide_codes, layouts
from faceter.graphs.packing import pack_weights, unpack_weights
from faceter.graphs.qdq import write_qdq
from tests.graphs.builders import Array, GraphBuilder, constants, optimized_operators, residual_net, run_optimized
from tests.graphs.min_max import min_max_plan

FLOAT_KERNELS = {"Conv", "Add", "Relu", "Clip", "GlobalAveragePool", "AveragePool", "Gemm", "MatMul"}


def normal(*shape: int) -> Array:
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def plain_model(bits: int = 8, *, per_channel: bool = True) -> onnx.ModelProto:
    image = normal(4, 3, 16, 16)
    plan = min_max_plan(residual_net(), weight_bits=bits, activation_bits=bits, per_channel=per_channel, image=image)
    return write_qdq(plan)


@pytest.mark.parametrize("layout", layouts)
@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("bits", [8, 4])
def test_every_layout_is_bit_identical(bits: int, per_channel: bool, layout: str) -> None:
    image = normal(4, 3, 16, 16)
    plain = plain_model(bits, per_channel=per_channel)
    changed = apply_layout(plain, layout)
    onnx.checker.check_model(changed, full_check=True)
    np.testing.assert_array_equal(run_optimized(changed, image=image)[0], run_optimized(plain, image=image)[0])


@pytest.mark.parametrize("layout", layouts)
@pytest.mark.parametrize("bits", [8, 5, 2])
def test_everything_runs_on_integer_kernels(bits: int, layout: str, tmp_path: Path) -> None:
    operators = optimized_operators(apply_layout(plain_model(bits), layout), tmp_path)
    assert operators["QLinearConv"] == 5
    assert operators["QLinearAdd"] == 1
    assert operators["QLinearGlobalAveragePool"] == 1
    assert operators["QGemm"] == 1
    assert operators["QuantizeLinear"] == 1
    assert operators["DequantizeLinear"] == 0
    assert not (set(operators) & FLOAT_KERNELS) - {"Clip"}
    # Three results of ReLU or ReLU6 enter convolutions; so do the sum and, by way of Gemm, the pooled values.
    assert operators["Clip"] == (0 if bits == 8 else 5)


@pytest.mark.parametrize("layout", layouts)
def test_a_layout_of_an_unpacked_file_is_the_same(layout: str) -> None:
    plain = plain_model(4)
    before = plain.SerializeToString()
    image = normal(4, 3, 16, 16)
    expected = run_optimized(apply_layout(plain, layout), image=image)[0]
    unpacked = unpack_weights(pack_weights(plain))
    np.testing.assert_array_equal(run_optimized(apply_layout(unpacked, layout), image=image)[0], expected)
    assert plain.SerializeToString() == before


@pytest.mark.parametrize("layout", layouts)
def test_a_float_model_is_unchanged(layout: str) -> None:
    model = residual_net()
    assert apply_layout(model, layout) is model


def test_write_qdq_writes_the_plain_layout() -> None:
    plain = plain_model()
    assert apply_layout(plain, PLAIN) is plain
    assert next(iter(layouts)) == PLAIN


def test_channels_are_padded_to_a_multiple_of_four() -> None:
    net = GraphBuilder([1, 3, 6, 6])
    net.conv(6, 3)
    net.conv(4, 6)
    net.conv(4, 4, group=2)
    x = normal(1, 3, 6, 6)
    changed = apply_layout(write_qdq(min_max_plan(net.build(), x=x)), "u8s8-by-4")
    channels = [value.shape[1] for value in constants(changed).values() if value.ndim == 4]
    assert sorted(channels) == [2, 4, 8]


@pytest.mark.parametrize("bits", [8, 7])
def test_codes_whose_products_overflow_16_bits(bits: int) -> None:
    net = GraphBuilder([1, 4, 8, 8])
    net.conv(8, 4)
    model = net.build()
    x = normal(1, 4, 8, 8)
    plan = min_max_plan(model, weight_bits=bits, x=x)
    plain = write_qdq(plan)
    [codes] = [value for name, value in constants(plain).items() if name.endswith("/q") and value.ndim == 4]
    assert codes.min() in (-128, -127, -64, -63)
    lowest = np.where(codes == codes.min(), -(2 ** (bits - 1)) + (bits == 8), codes).astype(np.int8)
    for tensor in plain.graph.initializer:
        if tensor.name.endswith("/q") and len(tensor.dims) == 4:
            tensor.CopyFrom(onnx.numpy_helper.from_array(lowest, tensor.name))
    assert has_wide_codes(plain) is (bits == 8)
    # Blocking lowers all codes by one: −64 becomes −65.
    assert has_wide_codes(apply_layout(plain, "u8s8-blocks"))
    assert not has_wide_codes(apply_layout(plain, UNSIGNED))
    assert not has_wide_codes(model)


def test_unsigned_weights_of_a_foreign_graph() -> None:
    """Signed activations, one weight read twice, no zero point where it is 0."""
    codes = np.random.default_rng(0).integers(-128, 128, (4, 4, 1, 1)).astype(np.int8)
    scale, zero = np.float32(0.02), np.int8(3)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xf"]),
        helper.make_node("DequantizeLinear", ["w", "s"], ["first"]),
        helper.make_node("DequantizeLinear", ["w", "per_channel"], ["second"], axis=0),
        helper.make_node("Conv", ["xf", "first"], ["a"]),
        helper.make_node("Conv", ["xf", "second"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["y"]),
    ]
    values = {"s": scale, "z": zero, "w": codes, "per_channel": np.array([0.01, 0.02, 0.03, 0.04], np.float32)}
    shape = [1, 4, 3, 3]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    changed = apply_layout(model, UNSIGNED)
    onnx.checker.check_model(changed, full_check=True)
    assert not has_wide_codes(changed)
    assert [value.dtype for value in constants(changed).values() if value.ndim == 4] == [np.uint8]
    x = normal(*shape)
    np.testing.assert_allclose(run_optimized(changed, x=x)[0], run_optimized(model, x=x)[0], rtol=1e-5, atol=1e-6)
