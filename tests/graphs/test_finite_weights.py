import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.graphs.finite_weights import check_finite_weights, non_finite_weights
from tests.graphs.builders import GraphBuilder, residual_net


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_weight_that_is_not_finite_is_named(bad: float) -> None:
    model = residual_net()
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == "classifier")
    values = numpy_helper.to_array(weight).copy()
    values[1, 2:4] = bad
    weight.CopyFrom(numpy_helper.from_array(values, "classifier"))
    with pytest.raises(FaceterError, match="'classifier' of the node 'n15' holds 2 of 60 values") as caught:
        check_finite_weights(model)
    assert caught.value.kind is ProblemKind.INVALID_MODEL


def test_the_weight_of_a_constant_node_is_seen() -> None:
    model = residual_net()
    value = numpy_helper.from_array(np.full((8, 8, 3, 3), np.nan, np.float32))
    name = next(node.input[1] for node in model.graph.node if node.name == "n3")
    kept = [tensor for tensor in model.graph.initializer if tensor.name != name]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    model.graph.node.insert(0, onnx.helper.make_node("Constant", [], [name], value=value))
    assert len(list(non_finite_weights(model))) == 1


def test_finite_weights_pass() -> None:
    check_finite_weights(residual_net())


@pytest.mark.parametrize("operator", ["Add", "Where", "Max"])
def test_infinity_in_a_mask_or_bound_is_allowed(operator: str) -> None:
    net = GraphBuilder(["n", 4])
    mask = net.constant(np.array([0, -np.inf, 0, 0], np.float32))
    inputs = [net.constant(np.array([True, False, True, True])), "x", mask] if operator == "Where" else ["x", mask]
    net.add(operator, *inputs)
    net.add("Softmax")
    check_finite_weights(net.build())
