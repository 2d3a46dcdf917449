"""Weights laid out by output channel, where ONNX's own layout has no single axis of output channels.

A recurrent layer stores [directions, gates · hidden, inputs], a grouped transposed convolution [inputs, outputs /
groups, kernel]. DequantizeLinear takes one scale per index of one axis. So these weights are stored as rows, one for
each direction, gate and unit, or for each group and output, and Reshape and Transpose restore ONNX's layout. The
function of the network does not change.
"""

import numpy as np
import onnx

from faceter.graphs.view import Array, GraphView, attribute, is_standard, replace_nodes

RECURRENT = frozenset({"GRU", "LSTM", "RNN"})
"""Operators with input weights W and recurrence weights R."""
_RESTORING = frozenset({"Reshape", "Transpose"})


def weights_as_rows(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with the weights of recurrent layers and grouped transposed convolutions as rows.

    Args:
        model: A canonical model; it is not changed.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    view = GraphView(changed)
    nodes: list[onnx.NodeProto] = []
    restored: dict[tuple[str, int], str] = {}
    for node in changed.graph.node:
        for position, groups in _positions(view, node):
            name = node.input[position]
            if (name, groups) not in restored:
                restored[name, groups] = view.unique(f"{name}/restored")
                nodes += _as_rows(view, name, groups, restored[name, groups])
            node.input[position] = restored[name, groups]
        nodes.append(node)
    replace_nodes(changed.graph, nodes)
    stored = {name for name, _ in restored}
    used = {name for node in nodes for name in node.input}
    for tensor in [item for item in changed.graph.initializer if item.name in stored - used]:
        changed.graph.initializer.remove(tensor)
    return changed


def weight_of(view: GraphView, name: str) -> str | None:
    """Return the initializer that a layer's weight is, or is restored from; None if there is none."""
    while not view.is_initializer(name):
        producer = view.producer.get(name)
        if producer is None or not is_standard(producer) or producer.op_type not in _RESTORING:
            return None
        name = producer.input[0]
    return name


def _positions(view: GraphView, node: onnx.NodeProto) -> list[tuple[int, int]]:
    """Return (input, groups) of each weight of a node to store as rows; 0 groups for a recurrent layer."""
    if not is_standard(node):
        return []
    positions = []
    if node.op_type in RECURRENT:
        positions = [(1, 0), (2, 0)]
    elif node.op_type == "ConvTranspose" and attribute(node, "group", 1) > 1:
        positions = [(1, int(attribute(node, "group", 1)))]
    rank = 3
    return [
        (position, groups)
        for position, groups in positions
        if view.is_initializer(node.input[position])
        and view.tensor(node.input[position]).data_type == onnx.TensorProto.FLOAT
        and len(view.tensor(node.input[position]).dims) >= rank
    ]


def _as_rows(view: GraphView, name: str, groups: int, target: str) -> list[onnx.NodeProto]:
    """Store a weight as rows, under its own name if nothing else reads it; return the nodes that restore it."""
    weight = view.constant(name)
    assert weight is not None
    if groups == 0:
        rows = weight.reshape(-1, weight.shape[-1])
        stored = view.add_initializer(f"{name}/rows", rows)
        shape = view.shared_initializer(f"{name}/shape", np.array(weight.shape, np.int64))
        return [onnx.helper.make_node("Reshape", [stored, shape], [target], f"{target}/reshape")]
    split = weight.reshape(groups, -1, *weight.shape[1:]).swapaxes(1, 2)
    rows = split.reshape(-1, *split.shape[2:])
    stored = view.add_initializer(f"{name}/rows", np.ascontiguousarray(rows))
    shapes = [_shape(view, name, split), _shape(view, name, weight)]
    steps = [f"{target}/groups", f"{target}/inputs_first", target]
    order = [0, 2, 1, *range(3, split.ndim)]
    return [
        onnx.helper.make_node("Reshape", [stored, shapes[0]], [steps[0]], steps[0]),
        onnx.helper.make_node("Transpose", [steps[0]], [steps[1]], steps[1], perm=order),
        onnx.helper.make_node("Reshape", [steps[1], shapes[1]], [target], f"{target}/reshape"),
    ]


def _shape(view: GraphView, name: str, value: Array) -> str:
    return view.shared_initializer(f"{name}/shape", np.array(value.shape, np.int64))
