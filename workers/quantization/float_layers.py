"""Layers that still compute in float in a quantized network."""

from __future__ import annotations

import onnx

from faceter.graphs.quantization_plan import QuantizationPlan
from faceter.graphs.quantization_sites import moved_tensors
from faceter.graphs.shapes import infer_shapes
from faceter.graphs.view import GraphView, node_name

_PRODUCTS = frozenset({"Conv", "Gemm", "MatMul"})
_INTEGER_KERNELS = _PRODUCTS | {"Add", "Mul", "GlobalAveragePool", "AveragePool", "LeakyRelu", "Sigmoid"}


def float_layers(plan: QuantizationPlan) -> list[str]:
    """Return the names of the nodes that compute in float in the quantized graph of a plan.

    A node computes in integers if all its input activations and its output are quantized, the output itself or after
    its ReLU or Clip; a matrix product may give float sums of integer products. Nodes that only move values, and
    activation functions that are the clamp of the codes, do not compute.
    """
    view = GraphView(plan.model)
    quantized: set[str] = set(plan.weights)
    for site in plan.sites.activations:
        if site.name in plan.activations:
            quantized.update((*site.tensors, *site.moved))
    float_tensors = {
        name for name, info in infer_shapes(plan.model).items() if info.dtype.startswith(("float", "bfloat"))
    }
    return [
        node_name(node)
        for node in plan.model.graph.node
        if node.output[0] in float_tensors and _in_float(view, node, quantized)
    ]


def _in_float(view: GraphView, node: onnx.NodeProto, quantized: set[str]) -> bool:
    if moved_tensors(view, node):
        return False
    output = node.output[0]
    if output in quantized and node.op_type in ("Relu", "Clip"):
        return False
    weighted = node.op_type in _PRODUCTS
    activations = [name for name in node.input if name and view.constant(name) is None]
    inputs = list(node.input[:2]) if weighted else activations
    if node.op_type not in _INTEGER_KERNELS or not all(name in quantized for name in inputs):
        return True
    if weighted and node.op_type != "Conv":
        return False
    reader = view.only_consumer(output)
    after = reader.output[0] if reader is not None and reader.op_type in ("Relu", "Clip") else output
    return output not in quantized and after not in quantized
