"""Models and inputs that the interpreter rejects."""

import onnx
import pytest
import torch
from onnx import TensorProto, helper

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.graphs.operators import unsupported
from workers.onnx_module import OnnxModule


def _of_nodes(*nodes: onnx.NodeProto, kind: int = TensorProto.FLOAT) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "made",
        [helper.make_tensor_value_info("x", kind, [2])],
        [onnx.ValueInfoProto(name=nodes[-1].output[0])],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


@pytest.mark.parametrize(
    ("node", "operator", "name"),
    [
        (helper.make_node("SequenceConstruct", ["x"], ["y"], name="the list"), "SequenceConstruct", "the list"),
        (helper.make_node("RandomNormalLike", ["x"], ["noise"]), "RandomNormalLike", "RandomNormalLike(noise)"),
        (helper.make_node("Relu", ["x"], ["y"], domain="com.example"), "com.example.Relu", "Relu(y)"),
    ],
)
def test_an_unsupported_operator_is_named_with_its_node(node: onnx.NodeProto, operator: str, name: str) -> None:
    model = _of_nodes(helper.make_node("Abs", ["x"], ["z"]), node)
    assert unsupported(model) == [(operator, name)]
    with pytest.raises(FaceterError, match=operator) as caught:
        OnnxModule(model)
    assert caught.value.kind is ProblemKind.UNSUPPORTED_OPERATOR
    assert repr(name) in caught.value.detail
    assert caught.value.extra == {"operator": operator, "node": name}


def test_control_flow_is_unsupported() -> None:
    branch = helper.make_graph([helper.make_node("Abs", ["x"], ["b"])], "branch", [], [onnx.ValueInfoProto(name="b")])
    node = helper.make_node("If", ["c"], ["y"], name="fork", then_branch=branch, else_branch=branch)
    model = _of_nodes(helper.make_node("Cast", ["x"], ["c"], to=TensorProto.BOOL), node)
    assert unsupported(model) == [("If", "fork")]
    with pytest.raises(FaceterError, match="fork"):
        OnnxModule(model)


def test_more_than_three_spatial_axes_are_unsupported() -> None:
    graph = helper.make_graph(
        [helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[1] * 4, name="wide")],
        "wide",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1] * 6)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1] * 6)],
    )
    network = OnnxModule(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    with pytest.raises(FaceterError, match="'wide' has 4 spatial axes") as caught:
        network(torch.ones([1] * 6))
    assert caught.value.kind is ProblemKind.UNSUPPORTED_OPERATOR


def test_string_tensors_are_unsupported() -> None:
    with pytest.raises(FaceterError, match="STRING") as caught:
        OnnxModule(_of_nodes(helper.make_node("Identity", ["x"], ["y"]), kind=TensorProto.STRING))
    assert caught.value.kind is ProblemKind.UNSUPPORTED_OPERATOR


def test_wrong_inputs_are_named(small: onnx.ModelProto) -> None:
    network = OnnxModule(small)
    with pytest.raises(FaceterError, match="needs an input 'x'") as caught:
        network({})
    assert caught.value.kind is ProblemKind.INVALID_INPUT
    with pytest.raises(FaceterError, match="has no input 'z'"):
        network({"x": torch.ones(1, 4), "z": torch.ones(1)})


def test_a_single_tensor_needs_a_single_input() -> None:
    graph = helper.make_graph(
        [helper.make_node("Add", ["a", "b"], ["y"])],
        "two",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "ab"],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    network = OnnxModule(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    with pytest.raises(FaceterError, match="2 inputs by name: a, b"):
        network(torch.ones(1))


def test_unknown_tensors_cannot_be_watched_or_replaced(small: onnx.ModelProto) -> None:
    network = OnnxModule(small)
    with pytest.raises(ValueError, match="no tensor 'nothing'"):
        network(torch.ones(1, 4), watch=["nothing"])
    with pytest.raises(ValueError, match="no tensor 'nothing'"):
        network(torch.ones(1, 4), replace={"nothing": torch.relu})


def test_a_failing_node_is_named(small: onnx.ModelProto) -> None:
    with pytest.raises(RuntimeError) as caught:
        OnnxModule(small)(torch.ones(1, 5))
    assert any("MatMul node 'MatMul(product)'" in note for note in caught.value.__notes__)
