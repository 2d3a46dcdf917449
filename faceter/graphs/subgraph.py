"""The part of a graph that computes some of its tensors."""

from collections.abc import Sequence

import onnx
import onnx_ir


def extract_subgraph(model: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
    """Return a model whose outputs are ``tensors``, with only the nodes and initializers that they depend on.

    Args:
        model: A checked model; it is not changed.
        tensors: Names of tensors that nodes of the main graph compute.

    Raises:
        KeyError: If no node computes one of them.
    """
    source = onnx_ir.from_proto(model)
    computed = {value.name for node in source.graph for value in node.outputs}
    for name in tensors:
        if name not in computed:
            raise KeyError(name)
    inputs = [value for value in source.graph.inputs if not value.is_initializer()]
    return onnx_ir.to_proto(
        onnx_ir.Model(onnx_ir.convenience.extract(source.graph, inputs, tensors), ir_version=model.ir_version)
    )
