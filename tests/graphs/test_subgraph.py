"""Extraction of a subgraph."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from faceter.graphs.subgraph import extract_subgraph


def branching() -> onnx.ModelProto:
    """X → a → b → y, and a → c."""
    nodes = [
        helper.make_node("Mul", ["x", "two"], ["a"]),
        helper.make_node("Add", ["a", "one"], ["b"]),
        helper.make_node("Neg", ["a"], ["c"]),
        helper.make_node("Relu", ["b"], ["y"]),
    ]
    values = {"two": 2.0, "one": 1.0}
    graph = helper.make_graph(
        nodes,
        "branching",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor(name, TensorProto.FLOAT, [], [value]) for name, value in values.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def test_unneeded_nodes_and_initializers_are_removed() -> None:
    part = extract_subgraph(branching(), ["c", "a"])
    assert [node.op_type for node in part.graph.node] == ["Mul", "Neg"]
    assert [tensor.name for tensor in part.graph.initializer] == ["two"]
    assert [value.name for value in part.graph.output] == ["c", "a"]


def test_inner_tensors_have_the_same_values() -> None:
    session = onnxruntime.InferenceSession(extract_subgraph(branching(), ["b", "y"]).SerializeToString())
    x = np.array([[-1, 0, 2]], np.float32)
    b, y = session.run(["b", "y"], {"x": x})
    assert np.asarray(b).tolist() == [[-1, 1, 5]]
    assert np.asarray(y).tolist() == [[0, 1, 5]]


def test_the_model_is_not_changed() -> None:
    model = branching()
    before = model.SerializeToString()
    extract_subgraph(model, ["a"])
    assert model.SerializeToString() == before


def test_a_tensor_that_no_node_computes_raises() -> None:
    with pytest.raises(KeyError):
        extract_subgraph(branching(), ["x"])
