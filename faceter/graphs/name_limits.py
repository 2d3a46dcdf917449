"""Bounds of the names in an uploaded model: they are repeated in answers, messages and files."""

from collections.abc import Iterator

import onnx

from faceter.graphs.file_format import invalid_model
from faceter.graphs.view import subgraphs

MOST_CHARACTERS = 1_000
MOST_VALUES = 2_000
"""Inputs and outputs of the graph together."""
_SHOWN = 40


def check_name_limits(model: onnx.ModelProto) -> None:
    """Check that no name is longer than 1,000 characters, and that the graph has at most 2,000 inputs and outputs.

    Raises:
        FaceterError: INVALID_MODEL.
    """
    count = len(model.graph.input) - len(model.graph.initializer) + len(model.graph.output)
    if count > MOST_VALUES:
        raise invalid_model(f"The graph has {count:,} inputs and outputs; this server takes {MOST_VALUES:,} at most.")
    for name in _names(model):
        if len(name) > MOST_CHARACTERS:
            raise invalid_model(
                f"A name in the graph has {len(name):,} characters, {name[:_SHOWN]!r} and so on; names have at most "
                f"{MOST_CHARACTERS:,}. Give its nodes and tensors shorter names."
            )


def _names(model: onnx.ModelProto) -> Iterator[str]:
    yield from (item.domain for item in model.opset_import)
    for function in model.functions:
        yield from (function.name, function.domain, *function.input, *function.output, *function.attribute)
        for node in function.node:
            yield from _names_of_node(node)
    yield from _names_of_graph(model.graph)


def _names_of_graph(graph: onnx.GraphProto) -> Iterator[str]:
    yield graph.name
    yield from (tensor.name for tensor in graph.initializer)
    yield from (tensor.values.name for tensor in graph.sparse_initializer)
    for value in (*graph.input, *graph.output, *graph.value_info):
        yield value.name
        yield from (dimension.dim_param for dimension in value.type.tensor_type.shape.dim)
    for node in graph.node:
        yield from _names_of_node(node)


def _names_of_node(node: onnx.NodeProto) -> Iterator[str]:
    yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
    yield from (attribute.name for attribute in node.attribute)
    for inner in subgraphs(node):
        yield from _names_of_graph(inner)
