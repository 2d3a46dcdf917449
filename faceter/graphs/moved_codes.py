"""Tensors of a quantized graph of which only codes are left, since nothing but moving is done to them."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import helper

from faceter.graphs.view import GraphView

CODES = "/q"
"""What follows a tensor's name in the name of its codes."""


def with_values(model: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
    """Return a quantized model in which these tensors are there by their own names again.

    Where only the codes ``name/q`` of a tensor are left (they are moved on, and dequantized where something computes
    with them), they are dequantized by the scale and zero point that are used there.

    Args:
        model: A model; it is not changed.
        tensors: Names of tensors of the graph it was made from.
    """
    view = GraphView(model)
    missing = [name for name in tensors if name not in view.producer and name + CODES in view.producer]
    found = {name: parameters for name in missing if (parameters := _parameters(view, name + CODES)) is not None}
    if not found:
        return model
    full = onnx.ModelProto()
    full.CopyFrom(model)
    for name, parameters in found.items():
        full.graph.node.append(helper.make_node("DequantizeLinear", [name + CODES, *parameters], [name]))
    return full


def _parameters(view: GraphView, codes: str) -> list[str] | None:
    """Return the scale and zero point that codes have wherever they are dequantized at last."""
    waiting, seen = [codes], {codes}
    while waiting:
        for node in view.consumers.get(waiting.pop(0), []):
            if node.op_type == "DequantizeLinear":
                return list(node.input[1:])
            for output in node.output:
                if output.endswith(CODES) and output not in seen:
                    seen.add(output)
                    waiting.append(output)
    return None
