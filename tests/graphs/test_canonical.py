from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.graphs.canonical import MIN_OPSET, canonicalize
from faceter.graphs.view import opset_of
from tests.graphs.builders import Array, GraphBuilder, constants, residual_net, run


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def normal(*shape: int) -> Array:
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def assert_same(model: onnx.ModelProto, **inputs: Array) -> onnx.ModelProto:
    before = model.SerializeToString()
    changed = canonicalize(model)
    assert model.SerializeToString() == before
    onnx.checker.check_model(changed, full_check=True)
    assert [value.name for value in changed.graph.output] == [value.name for value in model.graph.output]
    for expected, actual in zip(run(model, **inputs), run(changed, **inputs), strict=True):
        assert actual.shape == expected.shape
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)
    again = canonicalize(changed)
    assert operators(again) == operators(changed)
    return changed


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("axes", [[2, 3], [-1, -2], [3, 2]])
@pytest.mark.parametrize("opset", [13, 18])
def test_a_spatial_mean_becomes_global_average_pool(axes: list[int], keepdims: int, opset: int) -> None:
    net = GraphBuilder(["n", 4, 6, 6])
    if opset == 13:
        net.add("ReduceMean", axes=axes, keepdims=keepdims)
    else:
        net.add("ReduceMean", net.last, net.constant(np.array(axes, np.int64)), keepdims=keepdims)
    changed = assert_same(net.build(opset=opset), x=normal(2, 4, 6, 6))
    assert operators(changed) == (["GlobalAveragePool"] if keepdims else ["GlobalAveragePool", "Flatten"])


@pytest.mark.parametrize("axes", [[1, 2], [2], [0, 2, 3]])
def test_another_mean_is_unchanged(axes: list[int]) -> None:
    net = GraphBuilder(["n", 4, 6, 6])
    net.add("ReduceMean", axes=axes)
    assert operators(assert_same(net.build(opset=13), x=normal(2, 4, 6, 6))) == ["ReduceMean"]


def test_a_full_size_average_pool_becomes_global_average_pool() -> None:
    net = GraphBuilder(["n", 4, 6, 6])
    net.add("AveragePool", kernel_shape=[6, 6])
    assert operators(assert_same(net.build(), x=normal(2, 4, 6, 6))) == ["GlobalAveragePool"]


def test_constants_become_initializers_and_are_folded() -> None:
    net = GraphBuilder(["n", 6])
    net.nodes.append(helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(normal(5, 6), "k")))
    transposed = net.add("Transpose", "k", perm=[1, 0])
    net.add("MatMul", "x", transposed)
    net.add("Add", net.last, net.constant(normal(5)))
    changed = assert_same(net.build(), x=normal(3, 6))
    assert operators(changed) == ["Gemm"]
    assert len(changed.graph.node[0].input) == 3


def test_a_static_shape_is_folded() -> None:
    net = GraphBuilder([2, 4, 6, 6])
    shape = net.add("Shape", "x")
    net.add("Slice", shape, net.constant(np.array([0])), net.constant(np.array([2])))
    net.add("Concat", net.last, net.constant(np.array([36])), axis=0)
    net.add("Reshape", "x", net.last)
    assert operators(assert_same(net.build(), x=normal(2, 4, 6, 6))) == ["Reshape"]


def test_a_dynamic_shape_is_not_folded() -> None:
    net = GraphBuilder(["n", 4, 6, 6])
    shape = net.add("Shape", "x")
    net.add("Reshape", "x", shape)
    assert operators(assert_same(net.build(), x=normal(2, 4, 6, 6))) == ["Shape", "Reshape"]


def test_known_sizes_of_a_dynamic_shape_are_folded() -> None:
    net = GraphBuilder(["n", 4, 6, "w"])
    shape = net.add("Shape", "x")
    channels = net.add("Gather", shape, net.constant(np.array(1)))
    net.add("Unsqueeze", channels, net.constant(np.array([0])))
    channels = net.last
    rows = net.add("Slice", shape, net.constant(np.array([2])), net.constant(np.array([3])))
    area = net.add("Slice", shape, net.constant(np.array([2])), net.constant(np.array([4])))
    scale = net.add("Reshape", net.weight(4), net.add("Concat", channels, net.constant(np.array([1, 1])), axis=0))
    net.add("Mul", net.add("Reshape", "x", net.add("Concat", net.constant(np.array([-1, 4])), area, axis=0)), scale)
    net.add("Reshape", net.last, net.add("Concat", net.constant(np.array([-1])), channels, rows, axis=0))
    changed = assert_same(net.build(), x=normal(2, 4, 6, 5))
    assert operators(changed) == ["Shape", "Slice", "Concat", "Reshape", "Mul", "Reshape"]


def test_identity_and_dropout_are_removed() -> None:
    net = GraphBuilder(["n", 4, 6, 6])
    net.add("Identity")
    net.conv(4, 4)
    net.add("Dropout")
    net.add("Relu")
    net.add("Identity", output="y")
    assert operators(assert_same(net.build(), x=normal(2, 4, 6, 6))) == ["Conv", "Relu"]


def test_an_identity_from_input_to_output_is_kept() -> None:
    net = GraphBuilder(["n", 4])
    net.add("Identity", output="y")
    assert operators(assert_same(net.build(), x=normal(2, 4))) == ["Identity"]


def test_an_identity_of_a_tensor_that_is_an_output_too() -> None:
    net = GraphBuilder(["n", 4])
    first = net.add("Relu")
    net.add("Identity", output="y")
    assert_same(net.build(first, "y"), x=normal(2, 4))


def test_a_constant_that_is_an_output() -> None:
    net = GraphBuilder(["n", 4])
    net.add("Relu", output="y")
    net.nodes.append(helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(normal(3), "k")))
    assert_same(net.build("y", "k"), x=normal(2, 4))


@pytest.mark.parametrize("bias", ["row", "scalar", "vector", "none"])
def test_alpha_and_beta_of_gemm_are_folded(bias: str) -> None:
    net = GraphBuilder(["n", 6])
    inputs = ["x", net.weight(6, 5)]
    shapes: dict[str, tuple[int, ...]] = {"row": (1, 5), "scalar": (), "vector": (5,)}
    if bias != "none":
        inputs.append(net.constant(normal(*shapes[bias])))
    net.add("Gemm", *inputs, alpha=0.5, beta=2.0)
    changed = assert_same(net.build(), x=normal(3, 6))
    [gemm] = changed.graph.node
    settings = {item.name: item.f for item in gemm.attribute}
    assert settings["alpha"] == 1
    if bias != "none":
        assert constants(changed)[gemm.input[2]].shape == (5,)


@pytest.mark.parametrize("swapped", [False, True])
def test_an_added_constant_is_folded_into_the_bias(swapped: bool) -> None:
    net = GraphBuilder(["n", 4, 6, 6])
    conv = net.conv(5, 4)
    bias = net.constant(normal(5, 1, 1))
    net.add("Add", *((bias, conv) if swapped else (conv, bias)))
    net.add("Relu")
    assert operators(assert_same(net.build(), x=normal(2, 4, 6, 6))) == ["Conv", "Relu"]


@pytest.mark.parametrize("layer", ["Conv", "grouped Conv", "ConvTranspose", "Gemm"])
@pytest.mark.parametrize("chain", [["Mul"], ["Div"], ["Sub"], ["Add", "Sub", "Mul", "Add"], ["Mul", "Div", "Mul"]])
def test_arithmetic_per_channel_is_folded_into_the_layer_before(layer: str, chain: list[str]) -> None:
    net = GraphBuilder(["n", 4, 6, 6] if layer != "Gemm" else ["n", 4])
    match layer:
        case "Conv":
            net.conv(6, 4)
        case "grouped Conv":
            net.conv(6, 4, group=2)
        case "ConvTranspose":
            net.add("ConvTranspose", "x", net.weight(4, 3, 3, 3), net.weight(6), group=2)
        case _:
            net.add("MatMul", "x", net.weight(4, 6))
    for operator in chain:
        factor = np.array([0.5, -1, 2, 3, -0.25, 1], np.float32)
        net.add(operator, net.last, net.constant(factor if layer == "Gemm" else factor.reshape(6, 1, 1)))
    net.add("Relu")
    x = normal(2, 4) if layer == "Gemm" else normal(2, 4, 6, 6)
    assert operators(assert_same(net.build(), x=x)) == [layer.split()[-1], "Relu"]


def test_a_scaled_result_that_has_another_reader_is_not_folded() -> None:
    net = GraphBuilder(["n", 4, 6, 6])
    conv = net.conv(5, 4)
    scaled = net.add("Mul", conv, net.constant(np.float32(2)))
    assert operators(assert_same(net.build(conv, scaled), x=normal(2, 4, 6, 6))) == ["Conv", "Mul"]
    net.add("Add", conv, scaled)
    assert operators(assert_same(net.build(), x=normal(2, 4, 6, 6))) == ["Conv", "Mul", "Add"]


def test_a_divisor_of_zero_and_a_quotient_by_the_result_are_not_folded() -> None:
    for divisor, swapped in (([1, 0, 1, 1, 1], False), ([1, 2, 3, 4, 5], True)):
        net = GraphBuilder(["n", 4, 6, 6])
        conv = net.conv(5, 4)
        constant = net.constant(np.array(divisor, np.float32).reshape(5, 1, 1))
        net.add("Div", *((constant, conv) if swapped else (conv, constant)))
        assert operators(assert_same(net.build(), x=normal(2, 4, 6, 6))) == ["Conv", "Div"]


def test_an_added_image_is_not_folded_into_the_bias() -> None:
    net = GraphBuilder(["n", 4, 6, 6])
    conv = net.conv(5, 4)
    net.add("Add", conv, net.constant(normal(1, 1, 6, 6)))
    assert operators(assert_same(net.build(), x=normal(2, 4, 6, 6))) == ["Conv", "Add"]


@pytest.mark.parametrize(("exponent", "operator"), [(0.5, "Sqrt"), ([0.5], "Sqrt"), (2.0, "Pow"), ([[[0.5]]], "Pow")])
def test_the_power_of_one_half_is_a_root(exponent: Any, operator: str) -> None:
    net = GraphBuilder(["n", 4])
    net.add("Abs", "x")
    net.add("Pow", net.last, net.constant(np.array(exponent, np.float32)))
    assert operators(assert_same(net.build(), x=normal(2, 4))) == ["Abs", operator]


def test_consecutive_slices_are_merged() -> None:
    net = GraphBuilder(["n", 4, 8, 8])
    for axis, (start, end, step) in {2: (0, 8, 2), 3: (-1, -9, -2), 1: (1, 3, 1)}.items():
        cut = [net.constant(np.array([value], np.int64)) for value in (start, end, axis, step)]
        net.add("Slice", net.last, *cut)
    changed = assert_same(net.build(), x=normal(2, 4, 8, 8))
    assert operators(changed) == ["Slice"]


def test_slices_of_one_axis_are_not_merged() -> None:
    net = GraphBuilder(["n", 4, 8, 8])
    for _ in range(2):
        cut = [net.constant(np.array([value], np.int64)) for value in (1, 8, 2, 2)]
        net.add("Slice", net.last, *cut)
    assert operators(assert_same(net.build(), x=normal(2, 4, 8, 8))) == ["Slice", "Slice"]


def test_random_numbers_are_not_folded() -> None:
    net = GraphBuilder([2])
    net.nodes.append(helper.make_node("RandomNormal", [], ["r"], shape=[2]))
    net.add("Add", "x", "r")
    assert operators(canonicalize(net.build())) == ["RandomNormal", "Add"]


def test_node_names_are_unique() -> None:
    model = residual_net()
    for node in model.graph.node:
        node.name = "same"
    names = [node.name for node in canonicalize(model).graph.node]
    assert len(set(names)) == len(names)


def _old_softmax(net: GraphBuilder) -> None:
    net.add("Softmax", net.last, axis=1)


def _old_squeeze(net: GraphBuilder) -> None:
    net.add("GlobalAveragePool")
    net.add("Squeeze", net.last, axes=[2, 3])


def _old_sum(net: GraphBuilder) -> None:
    net.add("ReduceSum", net.last, axes=[1], keepdims=0)


@pytest.mark.parametrize("add", [_old_softmax, _old_squeeze, _old_sum])
@pytest.mark.parametrize("opset", [11, 12])
def test_older_opsets_are_converted(opset: int, add: Callable[[GraphBuilder], None]) -> None:
    net = GraphBuilder([2, 4, 6, 6])
    net.conv(4, 4)
    add(net)
    assert opset_of(assert_same(net.build(opset=opset), x=normal(2, 4, 6, 6))) == MIN_OPSET


def test_an_opset_that_cannot_be_converted_raises() -> None:
    node = helper.make_node("NoSuchOperator", ["x"], ["y"])
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xy"]
    model = helper.make_model(
        helper.make_graph([node], "g", value[:1], value[1:]), opset_imports=[helper.make_opsetid("", 11)]
    )
    with pytest.raises(FaceterError) as caught:
        canonicalize(model)
    assert caught.value.kind is ProblemKind.UNSUPPORTED_OPSET


def test_shared_models(shared_data: Path) -> None:
    folder = shared_data
    assert_same(onnx.load(folder / "cifar10" / "resnet20.onnx"), image=normal(2, 3, 32, 32))
    assert_same(onnx.load(folder / "detection" / "fastestdet.onnx"), **{"input.1": np.abs(normal(1, 3, 352, 352))})
    rng = np.random.default_rng(0)
    tokens = {"premise": rng.integers(0, 50, (3, 40)), "hypothesis": rng.integers(0, 50, (3, 24))}
    assert_same(onnx.load(folder / "nli" / "snli_mlp.onnx"), **tokens)
