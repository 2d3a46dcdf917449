"""Constant folding."""

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import ArrayLike
from onnx import TensorProto, helper

from faceter.graphs.canonical import canonicalize
from tests.graphs.builders import Array, GraphBuilder, constants, run


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def folded(net: GraphBuilder, **inputs: Array) -> onnx.ModelProto:
    """Return the canonical form, after a check that its outputs are equal."""
    model = net.build(opset=18)
    changed = canonicalize(model)
    onnx.checker.check_model(changed, full_check=True)
    for expected, actual in zip(run(model, **inputs), run(changed, **inputs), strict=True):
        assert actual.dtype == expected.dtype
        np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-6)
    return changed


def floats(values: ArrayLike) -> Array:
    return np.array(values, np.float32)


X = np.linspace(-2, 2, 12, dtype=np.float32).reshape(3, 4)


@pytest.mark.parametrize(
    ("operator", "operands", "attributes"),
    [
        ("Transpose", [np.arange(4, dtype=np.float32).reshape(4, 1)], {"perm": [1, 0]}),
        ("Reshape", [np.arange(4, dtype=np.float32).reshape(2, 2), np.array([4])], {}),
        ("Expand", [floats(3), np.array([1, 4])], {}),
        ("Tile", [floats([1, 2]), np.array([2])], {}),
        ("ConstantOfShape", [np.array([4])], {}),
        ("Range", [floats(0), floats(4), floats(1)], {}),
        ("Cast", [np.arange(4)], {"to": TensorProto.FLOAT}),
        ("Sqrt", [floats([1, 2, 3, 4])], {}),
        ("Pow", [floats([1, 2, 3, 4]), floats(2)], {}),
        ("ReduceL2", [np.ones((3, 4), np.float32), np.array([0])], {"keepdims": 0}),
        ("MatMul", [np.ones((2, 3), np.float32), np.ones((3, 4), np.float32)[:, :4]], {}),
        ("Where", [np.array([True, False, True, False]), floats(1), floats([1, 2, 3, 4])], {}),
        ("Gather", [floats([5, 6, 7]), np.array([0, 2, 2, 1])], {}),
    ],
)
def test_an_operator_of_constants_is_folded(operator: str, operands: list[Array], attributes: dict[str, Any]) -> None:
    net = GraphBuilder(["n", 4])
    made = net.add(operator, *(net.constant(np.asarray(operand)) for operand in operands), **attributes)
    net.add("Mul", "x", net.add("ReduceSum", made, keepdims=1) if operator == "MatMul" else made)
    changed = folded(net, x=X)
    assert operators(changed) == ["Mul"]
    assert len(changed.graph.initializer) == 1


def test_an_operator_with_several_outputs_is_folded() -> None:
    net = GraphBuilder(["n", 4])
    net.nodes.append(helper.make_node("Split", [net.constant(X[:2])], ["a", "b"], axis=0, num_outputs=2))
    net.add("Add", "x", "a")
    net.add("Mul", net.last, "b")
    changed = folded(net, x=X)
    assert operators(changed) == ["Add", "Mul"]
    np.testing.assert_array_equal(constants(changed)["b"], X[1:2])


def test_nonzero_is_folded() -> None:
    net = GraphBuilder(["n", 4])
    places = net.add("NonZero", net.constant(np.array([0, 1, 0, 1])))
    net.add("Gather", "x", net.add("Squeeze", places, net.constant(np.array([0]))), axis=1)
    assert operators(folded(net, x=X)) == ["Gather"]


def test_cast_like_of_a_constant_is_folded() -> None:
    net = GraphBuilder(["n", 4])
    net.add("Relu")
    limit = net.add("CastLike", net.constant(np.array(1, np.int64)), net.last)
    net.add("Clip", "t0", net.constant(floats(0.5)), limit)
    changed = folded(net, x=X)
    assert operators(changed) == ["Relu", "Clip"]
    assert constants(changed)[changed.graph.node[1].input[2]].dtype == np.float32


@pytest.mark.parametrize("at_output", [False, True])
@pytest.mark.parametrize("operator", ["Cast", "CastLike"])
def test_a_cast_to_the_same_type_is_removed(operator: str, at_output: bool) -> None:
    net = GraphBuilder(["n", 4])
    first = net.add("Relu")
    if operator == "Cast":
        net.add("Cast", first, to=TensorProto.FLOAT)
    else:
        net.add("CastLike", first, "x")
    if not at_output:
        net.add("Exp")
    assert operators(folded(net, x=X)) == (["Relu"] if at_output else ["Relu", "Exp"])


def test_a_cast_that_changes_the_type_is_kept() -> None:
    net = GraphBuilder(["n", 4])
    net.add("Cast", net.last, to=TensorProto.INT32)
    net.add("Cast", net.last, to=TensorProto.FLOAT)
    assert operators(folded(net, x=X)) == ["Cast", "Cast"]


def test_the_size_of_a_static_shape_is_folded() -> None:
    net = GraphBuilder([3, 4])
    net.add("Mul", "x", net.add("Cast", net.add("Size", "x"), to=TensorProto.FLOAT))
    assert operators(folded(net, x=X)) == ["Mul"]


def test_a_result_over_the_memory_budget_is_not_folded() -> None:
    net = GraphBuilder(["n", 4])
    large = net.add("Expand", net.constant(floats([[1]])), net.constant(np.array([5000, 4000])))
    net.add("Add", "x", net.add("ReduceMax", large, keepdims=0))
    assert operators(canonicalize(net.build(opset=18))) == ["Expand", "ReduceMax", "Add"]


def test_the_memory_budget_is_for_all_results_together() -> None:
    net = GraphBuilder(["n", 1000])
    parts = [
        net.add("Expand", net.constant(floats([[part]])), net.constant(np.array([2000, 1000]))) for part in range(10)
    ]
    for part in parts:
        net.add("Add", net.last if net.last not in parts else "x", part)
    left = operators(canonicalize(net.build(opset=18))).count("Expand")
    assert 10 - left == 8  # of 8 MB each, in 64 MiB


def test_a_weight_larger_than_the_budget_is_still_transposed() -> None:
    net = GraphBuilder(["n", 4500])
    net.add("MatMul", "x", net.add("Transpose", net.constant(np.zeros((4500, 4500), np.float32)), perm=[1, 0]))
    assert operators(canonicalize(net.build(opset=18))) == ["Gemm"]


def test_a_result_of_unknown_size_is_not_folded() -> None:
    net = GraphBuilder(["n", 4])
    boxes, scores = net.constant(np.zeros((1, 3, 4), np.float32)), net.constant(np.ones((1, 1, 3), np.float32))
    kept = net.add("NonMaxSuppression", boxes, scores, net.constant(np.array([1])))
    net.add("Add", "x", net.add("ReduceMax", net.add("Cast", kept, to=TensorProto.FLOAT), keepdims=0))
    assert operators(canonicalize(net.build(opset=18)))[0] == "NonMaxSuppression"


@pytest.mark.parametrize("operator", ["RandomNormalLike", "Bernoulli"])
def test_random_operators_are_not_folded(operator: str) -> None:
    net = GraphBuilder(["n", 4])
    net.add("Add", "x", net.add(operator, net.constant(np.full(4, 0.5, np.float32))))
    assert operators(canonicalize(net.build(opset=18))) == [operator, "Add"]


def test_dequantize_linear_is_not_folded() -> None:
    net = GraphBuilder(["n", 4])
    codes, scale = net.constant(np.array([1, 2, 3, 4], np.int8)), net.constant(floats(0.5))
    net.add("Mul", "x", net.add("DequantizeLinear", codes, scale))
    assert operators(canonicalize(net.build(opset=18))) == ["DequantizeLinear", "Mul"]
