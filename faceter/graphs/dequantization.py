"""Float tensors of a quantized graph that keeps only their codes."""

from collections.abc import Sequence

import onnx
from onnx import helper

from faceter.graphs.view import GraphView

CODES = "/q"
"""Suffix of the name of a tensor's codes."""


def with_dequantized_tensors(model: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
    """Return a quantized model in which ``tensors`` exist as float tensors under their own names.

    Where a graph has only the codes ``name/q`` of a tensor (a Concat, Transpose, … runs on codes), a DequantizeLinear
    is added, with the scale and zero point of the DequantizeLinear that the codes reach later.

    Args:
        model: A model; it is not changed.
        tensors: Names of tensors of the float graph; names that are not in the graph are ignored.
    """
    view = GraphView(model)
    missing = [name for name in tensors if name not in view.producer and name + CODES in view.producer]
    parameters = {name: found for name in missing if (found := _parameters(view, name + CODES)) is not None}
    if not parameters:
        return model
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for name, inputs in parameters.items():
        changed.graph.node.append(helper.make_node("DequantizeLinear", [name + CODES, *inputs], [name]))
    return changed


def _parameters(view: GraphView, codes: str) -> list[str] | None:
    """Return the scale and zero point of the first DequantizeLinear downstream of ``codes``."""
    queue, seen = [codes], {codes}
    while queue:
        for node in view.consumers.get(queue.pop(0), []):
            if node.op_type == "DequantizeLinear":
                return list(node.input[1:])
            for output in node.output:
                if output.endswith(CODES) and output not in seen:
                    seen.add(output)
                    queue.append(output)
    return None
