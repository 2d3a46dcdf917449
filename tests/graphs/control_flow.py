"""Models with If and Loop, whose course is constant or not."""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.graphs.builders import Array

WIDTH = 4
SAMPLING_RATE = 16000


def value(name: str, shape: Sequence[int | str | None] | None, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def tensor(name: str, array: Array | np.generic) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(array), name)


def branch(weight: float) -> onnx.GraphProto:
    """Return a subgraph without inputs that captures ``x`` and multiplies it by a matrix of its own."""
    matrix = np.full((WIDTH, WIDTH), weight, np.float32) + np.eye(WIDTH, dtype=np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "layer"),
        helper.make_node("Add", ["h", "outer"], ["r"], "shift"),
    ]
    return helper.make_graph(nodes, "branch", [], [value("r", None)], [tensor("w", matrix)])


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    constants: Sequence[onnx.TensorProto] = (),
    *,
    outputs: Sequence[onnx.ValueInfoProto] = (),
    opset: int = 17,
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "graph", inputs, outputs or [value("y", ["n", WIDTH])], list(constants))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(made)
    return made


OUTER = tensor("outer", np.arange(WIDTH, dtype=np.float32))


def by_sampling_rate(opset: int = 17) -> onnx.ModelProto:
    """Return a model with one branch for 16 kHz and one for other rates."""
    nodes = [
        helper.make_node("Equal", ["sr", "rate"], ["is_16k"]),
        helper.make_node("If", ["is_16k"], ["y"], "which", then_branch=branch(0.5), else_branch=branch(-1.0)),
    ]
    inputs = [value("x", ["n", WIDTH]), value("sr", [], TensorProto.INT64)]
    return model(nodes, inputs, [OUTER, tensor("rate", np.int64(SAMPLING_RATE))], opset=opset)


def by_size() -> onnx.ModelProto:
    """Return a model whose branch depends on the second axis of its input: on whether it is 4."""
    nodes = [
        helper.make_node("Shape", ["x"], ["sizes"]),
        helper.make_node("Gather", ["sizes", "one"], ["columns"]),
        helper.make_node("Equal", ["columns", "four"], ["fits"]),
        helper.make_node("If", ["fits"], ["y"], "which", then_branch=branch(0.5), else_branch=_other_width()),
    ]
    constants = [OUTER, tensor("one", np.int64(1)), tensor("four", np.int64(WIDTH))]
    return model(nodes, [value("x", ["n", "width"])], constants)


def _other_width() -> onnx.GraphProto:
    nodes = [helper.make_node("Relu", ["x"], ["other"])]
    return helper.make_graph(nodes, "other", [], [value("other", None)])


def by_data() -> onnx.ModelProto:
    """Return a model whose branch depends on the sum of its input."""
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0),
        helper.make_node("Greater", ["total", "zero"], ["positive"]),
        helper.make_node("If", ["positive"], ["y"], "which", then_branch=branch(0.5), else_branch=branch(-1.0)),
    ]
    return model(nodes, [value("x", ["n", WIDTH])], [OUTER, tensor("zero", np.float32(0))])


def nested() -> onnx.ModelProto:
    """Return a model with a constant If in the branch of another, both with tensors of the same names."""
    inner = helper.make_node("If", ["inner_test"], ["z"], "inner", then_branch=branch(2.0), else_branch=branch(3.0))
    then = helper.make_graph(
        [inner, helper.make_node("Add", ["z", "outer"], ["r"], "after")],
        "then",
        [],
        [value("r", None)],
        [tensor("inner_test", np.array(False))],
    )
    nodes = [
        helper.make_node("If", ["test"], ["b"], "outer_if", then_branch=then, else_branch=branch(1.0)),
        helper.make_node("If", ["test"], ["c"], "second_if", then_branch=branch(-1.0), else_branch=branch(1.0)),
        helper.make_node("Add", ["b", "c"], ["y"], "sum"),
    ]
    constants = [OUTER, tensor("test", np.array(True))]
    renamed = [value("x", ["n", WIDTH])]
    graph = helper.make_graph(nodes, "graph", renamed, [value("y", ["n", WIDTH])], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def loop(
    *, count: int | None, runs_while_below: int | None = None, count_as_input: bool = False, opset: int = 17
) -> onnx.ModelProto:
    """Return a model that multiplies ``x`` by a matrix several times, adds the iteration's number, and keeps each step.

    Args:
        count: Trip count; none if None.
        runs_while_below: Number of iterations by the condition; it is always true if None.
        count_as_input: Whether the trip count is an input of the graph.
    """
    body_nodes = [
        helper.make_node("MatMul", ["state", "w"], ["h"], "step"),
        helper.make_node("Cast", ["i"], ["number"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["h", "number"], ["next"]),
        helper.make_node("Add", ["next", "outer"], ["kept"]),
    ]
    if runs_while_below is None:
        body_nodes.append(helper.make_node("Identity", ["go_on"], ["goes_on"]))
    else:
        limit = helper.make_node("Constant", [], ["limit"], value=tensor("", np.int64(runs_while_below - 1)))
        body_nodes += [limit, helper.make_node("Less", ["i", "limit"], ["goes_on"])]
    matrix = (np.eye(WIDTH) * 0.5 + 0.1).astype(np.float32)
    body = helper.make_graph(
        body_nodes,
        "body",
        [value("i", [], TensorProto.INT64), value("go_on", [], TensorProto.BOOL), value("state", None)],
        [value("goes_on", [], TensorProto.BOOL), value("next", None), value("kept", None)],
        [tensor("w", matrix)],
    )
    inputs = [value("x", ["n", WIDTH])]
    constants = [OUTER, tensor("start", np.array(True))]
    if count_as_input:
        inputs.append(value("count", [], TensorProto.INT64))
    elif count is not None:
        constants.append(tensor("count", np.int64(count)))
    node = helper.make_node(
        "Loop", ["count" if count is not None else "", "start", "x"], ["y", "all"], "loop", body=body
    )
    outputs = [value("y", ["n", WIDTH]), value("all", [None, "n", WIDTH])]
    return model([node], inputs, constants, outputs=outputs, opset=opset)
