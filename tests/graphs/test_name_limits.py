"""Names in a model are bounded, wherever they stand."""

from typing import Any

import pytest
from onnx import TensorProto, helper

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.graphs.check import load_model
from tests.engines import graphs

_LONG = "n" * 1_001


def _model(place: str, name: str) -> bytes:
    names = {"input": "x", "output": "y", "node": "relu", "size": "batch", "attribute": "alpha", "inner": "i"} | {
        place: name
    }
    shape: graphs.Shape = [names["size"], 3]
    slope: dict[str, Any] = {names["attribute"]: 0.1}
    branch = helper.make_graph(
        [helper.make_node("Identity", [names["input"]], [names["inner"]])],
        "branch",
        [],
        [helper.make_tensor_value_info(names["inner"], TensorProto.FLOAT, shape)],
    )
    nodes = [
        helper.make_node("LeakyRelu", [names["input"]], ["l"], name=names["node"], **slope),
        helper.make_node("If", ["yes"], ["chosen"], then_branch=branch, else_branch=branch),
        helper.make_node("Add", ["l", "chosen"], [names["output"]]),
    ]
    inputs: dict[str, tuple[int, graphs.Shape]] = {
        names["input"]: (TensorProto.FLOAT, shape),
        "yes": (TensorProto.BOOL, []),
    }
    return graphs.model(nodes, inputs, {names["output"]: (TensorProto.FLOAT, shape)}, {})


@pytest.mark.parametrize("place", ["input", "output", "node", "size", "attribute", "inner"])
def test_a_name_that_is_too_long_is_refused_and_cut(place: str) -> None:
    with pytest.raises(FaceterError) as caught:
        load_model(_model(place, _LONG), max_bytes=10**6)
    assert caught.value.kind is ProblemKind.INVALID_MODEL
    assert "1,001 characters" in caught.value.detail
    assert len(caught.value.detail) < 300


@pytest.mark.parametrize("place", ["input", "output", "node", "size", "inner"])
def test_a_name_of_a_thousand_characters_is_taken(place: str) -> None:
    assert load_model(_model(place, _LONG[1:]), max_bytes=10**6).graph.node


def test_inputs_and_outputs_are_counted() -> None:
    outputs: dict[str, tuple[int, graphs.Shape]] = {f"y{number}": (TensorProto.FLOAT, [1]) for number in range(2_000)}
    nodes = [helper.make_node("Identity", ["x"], [name]) for name in outputs]
    with pytest.raises(FaceterError, match="2,001 inputs and outputs"):
        load_model(graphs.model(nodes, {"x": (TensorProto.FLOAT, [1])}, outputs), max_bytes=10**6)
