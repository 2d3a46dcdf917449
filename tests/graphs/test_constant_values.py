import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from faceter.graphs.constant_values import MAX_ELEMENTS, constant_values
from tests.graphs.builders import GraphBuilder


def test_sizes_that_are_computed_are_followed_through_the_graph() -> None:
    """A Pad by computed amounts makes the size after it known, which ONNX's own inference leaves open."""
    net = GraphBuilder(["n", 3, 8])
    half = net.add("Div", net.constant(np.array([8], np.int64)), net.constant(np.array([2], np.int64)))
    zeros = net.constant(np.zeros(2, np.int64))
    pads = net.add("Concat", zeros, half, zeros, half, axis=0)
    net.add("Pad", "x", pads)
    padded = net.last
    net.add("Shape", padded)
    width = net.add("Gather", net.last, net.constant(np.array(2, np.int64)))
    batch = net.add("Gather", net.nodes[-2].output[0], net.constant(np.array(0, np.int64)))
    model = helper.make_model(
        helper.make_graph(
            net.nodes,
            "g",
            net.inputs,
            [helper.make_tensor_value_info(padded, TensorProto.FLOAT, None)],
            net.initializers,
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    values = constant_values(model)
    width_value = values.value(width)
    assert width_value is not None
    assert width_value.tolist() == 16
    assert values.value(batch) is None
    assert values.value(padded) is None


@pytest.mark.parametrize("operator", ["ConstantOfShape", "Range"])
def test_nothing_large_is_made(operator: str) -> None:
    constants = {
        "size": np.array([1 << 40], np.int64),
        "zero": np.int64(0),
        "end": np.int64(1 << 40),
        "one": np.int64(1),
    }
    inputs = ["size"] if operator == "ConstantOfShape" else ["zero", "end", "one"]
    graph = helper.make_graph(
        [helper.make_node(operator, inputs, ["y"])],
        "g",
        [],
        [helper.make_tensor_value_info("y", 1, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert constant_values(model).value("y") is None
    assert MAX_ELEMENTS < 1 << 20
