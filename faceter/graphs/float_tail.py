"""The end of a graph that cannot be quantized and stays as it is: labels as text, maps of class to probability."""

from dataclasses import dataclass

import onnx

from faceter.graphs.lowering import lowered
from faceter.graphs.operators import unsupported
from faceter.graphs.view import (
    GraphView,
    all_nodes,
    inputs_used,
    opset_of,
    remove_unused,
    replace_nodes,
    subgraphs,
    unique_names,
)

_LAYERS = frozenset({"Conv", "ConvTranspose", "GRU", "Gemm", "LSTM", "MatMul", "RNN", "Einsum"})
_MIN_OPSET = 13
"""Older models are converted, which would leave the tail behind."""


@dataclass(frozen=True)
class FloatTail:
    """Nodes after the last layer that jobs cannot run.

    Attributes:
        nodes: The nodes, in order.
        initializers: Their constants.
        outputs: The outputs of the whole graph, in order.
        opset_imports: Those of the whole graph.
    """

    nodes: tuple[onnx.NodeProto, ...]
    initializers: tuple[onnx.TensorProto, ...]
    outputs: tuple[onnx.ValueInfoProto, ...]
    opset_imports: tuple[onnx.OperatorSetIdProto, ...]

    @property
    def warning(self) -> str:
        """What a report says of it."""
        operators = ", ".join(sorted({node.op_type for node in self.nodes}))
        return f"The end of the graph stays as it is and was not measured, since it has no layer: {operators}."


def split_tail(model: onnx.ModelProto) -> tuple[onnx.ModelProto, FloatTail | None]:
    """Return the part of a graph that jobs can run, and the end that they cannot.

    The part has the outputs that it computes, then the tensors that the end reads.

    Args:
        model: A checked model; it is not changed.

    Returns:
        The model itself and None if jobs can run all of it, or if what they cannot run is not at its end.
    """
    refused = {name for _, name in unsupported(model)}
    if not refused or opset_of(model) < _MIN_OPSET:
        return model, None
    plain = lowered(model)
    tail, core = _parts(plain.graph, refused)
    if not core or any(_has_layer(node) for node in tail):
        return model, None
    computed = {name for node in core for name in node.output if name}
    read = dict.fromkeys(name for node in tail for name in inputs_used(node) if name in computed)
    own = [value for value in plain.graph.output if value.name in computed]
    types = {value.name: value for value in onnx.shape_inference.infer_shapes(plain).graph.value_info}
    boundary = [name for name in read if name not in {value.name for value in own}]
    if any(name not in types for name in boundary):
        return model, None
    constants = {name for node in tail for name in inputs_used(node)}
    kept = FloatTail(
        tuple(tail),
        tuple(tensor for tensor in plain.graph.initializer if tensor.name in constants),
        tuple(plain.graph.output),
        tuple(plain.opset_import),
    )
    part = onnx.ModelProto()
    part.CopyFrom(plain)
    replace_nodes(part.graph, core)
    del part.graph.output[:]
    part.graph.output.extend([*own, *(types[name] for name in boundary)])
    remove_unused(part.graph)
    used = {node.domain for node in all_nodes(part.graph)} | {"", "ai.onnx"}
    del part.opset_import[:]
    part.opset_import.extend(item for item in plain.opset_import if item.domain in used)
    return part, kept


def with_tail(model: onnx.ModelProto, tail: FloatTail | None) -> onnx.ModelProto:
    """Return a model, made of the part before a tail, with the tail again.

    Args:
        model: It computes the tensors that the tail reads; it is not changed.
        tail: The model is returned as it is if there is none.
    """
    if tail is None:
        return model
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    view = GraphView(whole)
    renamed = {}
    for tensor in tail.initializers:
        name = view.unique(tensor.name)
        renamed[tensor.name] = name
        whole.graph.initializer.append(tensor)
        whole.graph.initializer[-1].name = name
    for node in tail.nodes:
        whole.graph.node.append(node)
        added = whole.graph.node[-1]
        for index, item in enumerate(added.input):
            added.input[index] = renamed.get(item, item)
    del whole.graph.output[:]
    whole.graph.output.extend(tail.outputs)
    domains = {item.domain for item in whole.opset_import}
    whole.opset_import.extend(item for item in tail.opset_imports if item.domain not in domains)
    return whole


def _has_layer(node: onnx.NodeProto) -> bool:
    """Whether a node is a layer or has one in a subgraph."""
    inside = (item for inner in subgraphs(node) for item in all_nodes(inner))
    return any(item.op_type in _LAYERS for item in (node, *inside))


def _parts(graph: onnx.GraphProto, refused: set[str]) -> tuple[list[onnx.NodeProto], list[onnx.NodeProto]]:
    """Return the nodes that cannot be run with all that depends on them, and the others."""
    behind: set[str] = set()
    tail: list[onnx.NodeProto] = []
    core: list[onnx.NodeProto] = []
    for node, name in zip(graph.node, unique_names(graph), strict=True):
        if name in refused or any(item in behind for item in inputs_used(node)):
            behind.update(item for item in node.output if item)
            tail.append(node)
        else:
            core.append(node)
    return tail, core
