"""The part of a graph that leads to some of its tensors."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from faceter.graphs.view import inputs_used


def cut(model: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
    """Return a copy of a model whose outputs are these tensors, without the nodes that lead to none of them.

    Args:
        model: A checked model.
        tensors: Names of tensors that nodes make.

    Raises:
        KeyError: If no node makes one of them.
    """
    made_by = {name: number for number, node in enumerate(model.graph.node) for name in node.output if name}
    wanted = [made_by[name] for name in tensors]
    kept: set[int] = set()
    while wanted:
        number = wanted.pop()
        if number not in kept:
            kept.add(number)
            wanted.extend(made_by[name] for name in inputs_used(model.graph.node[number]) if name in made_by)
    part = onnx.ModelProto()
    part.CopyFrom(model)
    nodes = [node for number, node in enumerate(part.graph.node) if number in kept]
    used = {name for node in nodes for name in inputs_used(node)}
    weights = [tensor for tensor in part.graph.initializer if tensor.name in used]
    known = {value.name: value for value in [*model.graph.output, *model.graph.value_info]}
    del part.graph.node[:], part.graph.initializer[:], part.graph.output[:]
    part.graph.node.extend(nodes)
    part.graph.initializer.extend(weights)
    part.graph.output.extend(known.get(name, onnx.ValueInfoProto(name=name)) for name in tensors)
    return part
