"""Weights stored as rows: the function is the same, in ONNX Runtime and in torch."""

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faceter.graphs.view import GraphView
from faceter.graphs.weight_rows import weight_of, weights_as_rows
from tests.graphs.builders import GraphBuilder, constants, run
from workers.onnx_module import OnnxModule

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def recurrent(operator: str, direction: str, layout: int, *, optional: bool, reset_last: bool) -> onnx.ModelProto:
    directions, gates, hidden = 2 if direction == "bidirectional" else 1, GATES[operator], 3
    net = GraphBuilder([2, 5, 4] if layout else [5, 2, 4])
    inputs = [
        net.weight(directions, gates * hidden, 4, name="W"),
        net.weight(directions, gates * hidden, hidden, name="R"),
    ]
    if optional:
        state = (2, directions, hidden) if layout else (directions, 2, hidden)
        inputs += [net.weight(directions, 2 * gates * hidden), net.constant(np.array([5, 3], np.int32))]
        inputs += [net.weight(*state) for _ in range(2 if operator == "LSTM" else 1)]
        if operator == "LSTM":
            inputs.append(net.weight(directions, 3 * hidden))
    attributes: dict[str, Any] = {"linear_before_reset": int(reset_last)} if operator == "GRU" else {}
    net.add(operator, "x", *inputs, hidden_size=hidden, direction=direction, layout=layout, **attributes)
    return net.build()


@settings(max_examples=40, derandomize=True)
@given(
    st.sampled_from(sorted(GATES)),
    st.sampled_from(["forward", "reverse", "bidirectional"]),
    st.integers(0, 1),
    st.booleans(),
    st.booleans(),
)
def test_recurrent_layers(operator: str, direction: str, layout: int, optional: bool, reset_last: bool) -> None:
    model = recurrent(operator, direction, layout, optional=optional, reset_last=reset_last)
    changed = weights_as_rows(model)
    onnx.checker.check_model(changed, full_check=True)
    stored = constants(changed)
    rows = GATES[operator] * 3 * (2 if direction == "bidirectional" else 1)
    assert stored["W/rows"].shape == (rows, 4)
    assert stored["R/rows"].shape == (rows, 3)
    assert not {"W", "R"} & stored.keys()
    view = GraphView(changed)
    layer = next(node for node in changed.graph.node if node.op_type == operator)
    assert [weight_of(view, name) for name in layer.input[1:3]] == ["W/rows", "R/rows"]
    x = np.random.default_rng(1).normal(size=(2, 5, 4) if layout else (5, 2, 4)).astype(np.float32)
    expected, actual = (OnnxModule(each)(torch.from_numpy(x))[model.graph.output[0].name] for each in (model, changed))
    np.testing.assert_array_equal(actual.detach().numpy(), expected.detach().numpy())
    if layout == 0:  # ONNX Runtime has no kernel for the other
        np.testing.assert_allclose(run(changed, x=x)[0], run(model, x=x)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("groups", [2, 4])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_grouped_transposed_convolutions(groups: int, rank: int) -> None:
    net = GraphBuilder([2, 8, *[4] * rank])
    weight = net.weight(8, 3, *[2] * rank, name="w")
    net.add("ConvTranspose", "x", weight, net.weight(3 * groups), group=groups, strides=[2] * rank)
    model = net.build()
    changed = weights_as_rows(model)
    onnx.checker.check_model(changed, full_check=True)
    assert constants(changed)["w/rows"].shape == (3 * groups, 8 // groups, *[2] * rank)
    x = np.random.default_rng(1).normal(size=(2, 8, *[4] * rank)).astype(np.float32)
    np.testing.assert_array_equal(run(changed, x=x)[0], run(model, x=x)[0])


def test_a_weight_that_two_layers_read_is_stored_once() -> None:
    net = GraphBuilder([5, 2, 3])
    weights = [net.weight(1, 12, 3, name="W"), net.weight(1, 12, 3, name="R")]
    net.add("LSTM", "x", *weights, hidden_size=3, output="first")
    net.add("LSTM", net.add("Squeeze", "first", net.constant(np.array([1]))), *weights, hidden_size=3)
    model = net.build()
    changed = weights_as_rows(model)
    assert [node.op_type for node in changed.graph.node].count("Reshape") == 2
    x = np.random.default_rng(1).normal(size=(5, 2, 3)).astype(np.float32)
    np.testing.assert_array_equal(run(changed, x=x)[0], run(model, x=x)[0])


def test_other_layers_stay() -> None:
    net = GraphBuilder([2, 4, 6, 6])
    net.conv(4, 4)
    net.add("ConvTranspose", net.last, net.weight(4, 6, 3, 3))
    model = net.build()
    assert weights_as_rows(model).SerializeToString() == model.SerializeToString()
