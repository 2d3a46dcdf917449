"""The layers of a network that have constant weights and a bias that can be changed."""

from __future__ import annotations

from dataclasses import dataclass

import onnx
from onnx import NodeProto

from faceter.graphs.view import GraphView


@dataclass(frozen=True)
class WeightedLayer:
    """A convolution or matrix product whose second input is a constant weight.

    Args:
        weight: Name of its weight's initializer.
        bias: Name of its bias's initializer; None if it has none.
        source: Name of its input activation.
        result: Name of its output, before any activation function.
    """

    node: NodeProto
    weight: str
    bias: str | None
    source: str
    result: str


def layers_with_bias(model: onnx.ModelProto) -> list[WeightedLayer]:
    """Return the Conv and Gemm nodes with a constant weight and a constant bias or none, in order."""
    view = GraphView(model)
    layers = []
    for node in model.graph.node:
        if node.op_type not in ("Conv", "Gemm") or not view.is_initializer(node.input[1]):
            continue
        bias = node.input[2] if len(node.input) > 2 and node.input[2] else None
        if bias is None or view.is_initializer(bias):
            layers.append(WeightedLayer(node, node.input[1], bias, node.input[0], node.output[0]))
    return layers
