import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from faceter.graphs.output_activation import probability_outputs
from tests.graphs.builders import GraphBuilder


def classifier(*activation: str, rounded: bool = False, reshaped: bool = False) -> onnx.ModelProto:
    net = GraphBuilder(["n", 4])
    net.add("Gemm", "x", net.weight(4, 3))
    for operator in activation:
        net.add(operator)
    if reshaped:
        net.add("Reshape", net.last, net.constant(np.array([-1, 3], np.int64)))
        net.add("Identity")
    if rounded:
        scale, zero = net.constant(np.float32(1 / 255)), net.constant(np.uint8(0))
        codes = net.add("QuantizeLinear", net.last, scale, zero)
        codes = net.add("Clip", codes, zero, net.constant(np.uint8(15)))
        net.add("DequantizeLinear", codes, scale, zero)
    return net.build()


@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize("reshaped", [False, True])
@pytest.mark.parametrize("operator", ["Softmax", "Sigmoid"])
def test_probabilities_are_found_through_what_keeps_values(operator: str, reshaped: bool, rounded: bool) -> None:
    model = classifier(operator, rounded=rounded, reshaped=reshaped)
    assert probability_outputs(model) == {model.graph.output[0].name}


@pytest.mark.parametrize("activation", [(), ("Relu",), ("LogSoftmax",), ("Softmax", "Log")])
def test_logits_are_none(activation: tuple[str, ...]) -> None:
    assert probability_outputs(classifier(*activation, rounded=True)) == frozenset()


def test_an_output_that_is_an_input_or_constant_is_none() -> None:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [value])
    assert probability_outputs(helper.make_model(graph)) == frozenset()
