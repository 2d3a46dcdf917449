"""Heads and features: the tensors by which networks are compared."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from faceter.contracts.models import ModelMetadata, Task
from faceter.graphs.canonical import canonicalize
from faceter.graphs.quantization_sites import find_quantization_sites
from tests.graphs.builders import GraphBuilder, residual_net
from tests.workers.quantization.mixed.networks import two_headed
from workers.quantization.tuning.student.heads import Heads, feature_tensors, find_heads

CLASSES = ModelMetadata(task=Task.IMAGE_CLASSIFICATION)


def classifier(last: str | None, **attributes: Any) -> onnx.ModelProto:
    net = GraphBuilder(["batch", 4, 3])
    net.add("Flatten", net.last)
    net.add("Gemm", net.last, net.weight(5, 12), net.weight(5), transB=1, output="scores")
    if last is not None:
        net.add(last, output="answer", **attributes)
    return net.build()


@pytest.mark.parametrize("last", ["Softmax", "LogSoftmax"])
def test_scores_are_taken_before_a_last_softmax(last: str) -> None:
    assert find_heads(classifier(last, axis=1), CLASSES) == Heads("scores", ())
    assert find_heads(classifier(None), CLASSES) == Heads("scores", ())
    assert find_heads(classifier("Sigmoid"), CLASSES) == Heads("answer", ())


def test_only_a_classifier_has_scores() -> None:
    assert find_heads(classifier("Softmax", axis=1), ModelMetadata()) == Heads(None, ("answer",))


def test_all_float_outputs_are_heads() -> None:
    assert find_heads(two_headed(), ModelMetadata()) == Heads(None, ("boxes", "mask"))
    named = CLASSES.model_copy(update={"output": "mask"})
    assert find_heads(two_headed(), named) == Heads("mask", ("boxes",))
    assert find_heads(two_headed(), named).tensors == ("mask", "boxes")


def test_a_concatenated_output_is_split() -> None:
    """A detector's boxes in pixels would hide its scores."""
    net = GraphBuilder(["batch", 3, 8, 8], name="image")
    trunk = net.conv(6, 3)
    parts = [
        net.add("Conv", trunk, net.weight(count, 6, 1, 1), output=name) for name, count in (("boxes", 4), ("raw", 3))
    ]
    net.add("Sigmoid", parts[1], output="scores")
    net.add("Concat", "boxes", "scores", axis=1)
    net.add("Transpose", perm=[0, 2, 3, 1], output="answer")
    assert find_heads(net.build(), ModelMetadata()) == Heads(None, ("boxes", "scores"))


def test_a_concatenation_with_constants_is_not_split() -> None:
    net = GraphBuilder(["batch", 3, 8, 8], name="image")
    first = net.conv(2, 3)
    net.add("Concat", first, net.constant(np.zeros((1, 2, 8, 8), np.float32)), axis=1, output="answer")
    assert find_heads(net.build(), ModelMetadata()) == Heads(None, ("answer",))


def test_the_input_of_an_arg_max_is_a_head() -> None:
    net = GraphBuilder(["batch", 3, 8, 8], name="image")
    net.conv(5, 3)
    net.add("ArgMax", output="best", axis=1, keepdims=0)
    model = integer_output(net)
    assert find_heads(model, ModelMetadata()) == Heads(None, (model.graph.node[-1].input[0],))


def test_there_may_be_no_heads() -> None:
    net = GraphBuilder(["batch", 4])
    net.add("Gemm", net.last, net.weight(4, 4))
    net.add("Cast", output="best", to=TensorProto.INT64)
    assert find_heads(integer_output(net), ModelMetadata()) == Heads(None, ())
    assert find_heads(integer_output(net), CLASSES) == Heads(None, ())


def integer_output(net: GraphBuilder) -> onnx.ModelProto:
    """Return a network whose last tensor holds integers."""
    graph = helper.make_graph(
        net.nodes,
        "graph",
        net.inputs,
        [helper.make_tensor_value_info("best", TensorProto.INT64, None)],
        net.initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model = onnx.shape_inference.infer_shapes(model)
    onnx.checker.check_model(model, full_check=True)
    return model


def features(model: onnx.ModelProto) -> list[str]:
    canonical = canonicalize(model)
    return feature_tensors(canonical, find_quantization_sites(canonical))


def test_features_are_residual_sums_where_there_are_several() -> None:
    net = GraphBuilder(["batch", 4, 8, 8])
    net.conv(4, 4)
    trunk = net.add("Relu")
    sums = []
    for _ in range(3):
        branch = net.conv(4, 4)
        net.add("Add", branch, trunk)
        trunk = net.add("Relu")
        sums.append(trunk)
    net.conv(2, 4)
    assert features(net.build()) == sums


def test_features_are_else_the_inputs_of_layers() -> None:
    model = canonicalize(residual_net())
    entering = {node.input[0] for node in model.graph.node if node.op_type in ("Conv", "Gemm")}
    found = feature_tensors(model, find_quantization_sites(model))
    assert found
    assert "image" not in found
    assert set(found) <= entering | {"t10", "t11", "t12"} | {name for node in model.graph.node for name in node.output}
    assert len(found) == len(set(found))


def test_a_network_of_one_layer_has_no_features() -> None:
    assert features(classifier(None)) == []
