"""Layers that still compute in float in a quantized network, and layers whose weights stay in float."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import onnx

from faceter.graphs.quantization_plan import QuantizationPlan
from faceter.graphs.quantization_sites import after_clamps, channel_clamp_of, clamp_of, is_embedding, moved_tensors
from faceter.graphs.shapes import TensorInfo, infer_shapes
from faceter.graphs.view import GraphView, attribute, is_standard, node_name
from faceter.graphs.weight_rows import RECURRENT, weight_of

_PRODUCTS = frozenset({"Conv", "Gemm", "MatMul"})
_INTEGER_KERNELS = _PRODUCTS | {"Add", "Mul", "GlobalAveragePool", "AveragePool", "LeakyRelu", "Sigmoid"}
_WEIGHTED = _PRODUCTS | RECURRENT | {"ConvTranspose", "Einsum"}
_MOST_NAMES = 12


@dataclass(frozen=True)
class WeightPrecision:
    """Where the weights of a network's layers are in integers, by the names of its layers.

    Args:
        quantized: Layers with quantized weights.
        dequantized: Those of them that compute in float, with dequantized weights.
        floating: Layers whose constant weights stay in float.
    """

    quantized: tuple[str, ...]
    dequantized: tuple[str, ...]
    floating: tuple[str, ...]


def float_layers(plan: QuantizationPlan) -> list[str]:
    """Return the names of the nodes that compute in float in the quantized graph of a plan.

    A node computes in integers if all its input activations and its output are quantized, the output itself or after
    its ReLU or clip; a matrix product may give float sums of integer products. Nodes that only move values, activation
    functions that are the clamp of the codes, and nodes without float activations do not compute.
    """
    view = GraphView(plan.model)
    quantized: set[str] = set(plan.weights)
    for site in plan.sites.activations:
        if site.name in plan.activations:
            quantized.update((*site.tensors, *site.moved))
    shapes = infer_shapes(plan.model)
    computed = _computed_tensors(view, shapes)
    return [
        node_name(node)
        for node in plan.model.graph.node
        if any(name in computed for name in node.input)
        and any(_is_float(shapes, name) for name in node.output)
        and _in_float(view, node, quantized)
    ]


def weight_precision(plan: QuantizationPlan) -> WeightPrecision:
    """Return which layers' weights a plan quantizes."""
    view, shapes = GraphView(plan.model), infer_shapes(plan.model)
    in_float = set(float_layers(plan))
    quantized, dequantized, floating = [], [], []
    for node in plan.model.graph.node:
        weights = _weights_of(view, shapes, node)
        if not weights:
            continue
        name = node_name(node)
        if not any(weight in plan.weights for weight in weights):
            floating.append(name)
            continue
        quantized.append(name)
        if name in in_float and not _has_integer_products(node):
            dequantized.append(name)
    return WeightPrecision(tuple(quantized), tuple(dequantized), tuple(floating))


def precision_warnings(plan: QuantizationPlan, activation_bits: int) -> list[str]:
    """Return sentences on the bits of weights and activations that are true of this network.

    Args:
        activation_bits: Requested bits of activations.
    """
    layers = weight_precision(plan)
    bits = [quantizer.bits for quantizer in plan.weights.values()]
    each = f"{min(bits)} bits" if min(bits) == max(bits) else f"from {min(bits)} to {max(bits)} bits each"
    count = len(layers.quantized)
    which = (
        f"{count} of {count + len(layers.floating)} layers"
        if layers.floating
        else "every layer, the first and the last included,"
    )
    activations = "activations stay in float"
    if plan.activations:
        activations = (
            f"activations that enter a layer and residual sums have {activation_bits}; the network's input, summands "
            "and other quantized results have 8"
        )
    sentences = [f"Weights of {which} have {each}; {activations}."]
    if layers.floating:
        sentences.append(f"Weights of these layers stay in float: {_listed(layers.floating)}.")
    if layers.dequantized:
        sentences.append(
            "These layers have quantized weights but compute in float, since there is no integer kernel for them or "
            f"their results are outputs: {_listed(layers.dequantized)}."
        )
    return sentences


def _listed(names: Iterable[str]) -> str:
    """Return names as a list, of many the first."""
    all_names = list(names)
    rest = len(all_names) - _MOST_NAMES
    return ", ".join(all_names[:_MOST_NAMES]) + (f" and {rest} more" if rest > 0 else "")


def _computed_tensors(view: GraphView, shapes: dict[str, TensorInfo]) -> set[str]:
    """Return the float tensors that depend on an input of the graph."""
    dependent = set(view.inputs)
    for node in view.graph.node:
        if any(name in dependent for name in node.input):
            dependent.update(name for name in node.output if name)
    return {name for name in dependent if _is_float(shapes, name)}


def _is_float(shapes: dict[str, TensorInfo], name: str) -> bool:
    info = shapes.get(name)
    return info is not None and info.dtype.startswith(("float", "bfloat"))


def _weights_of(view: GraphView, shapes: dict[str, TensorInfo], node: onnx.NodeProto) -> list[str]:
    """Return the constant float weights of a layer; empty for other nodes."""
    if not is_standard(node):
        return []
    if is_embedding(view, node):
        names = [node.input[0]]
    elif node.op_type in RECURRENT:
        names = list(node.input[1:3])
    elif node.op_type in _WEIGHTED:
        names = list(node.input[:2])
    else:
        return []
    stored = [weight_of(view, name) for name in names]
    return [name for name in stored if name is not None and _is_float(shapes, name)]


def _has_integer_products(node: onnx.NodeProto) -> bool:
    """Whether a matrix product has an integer kernel that gives float sums."""
    return node.op_type in ("Gemm", "MatMul") and attribute(node, "alpha", 1.0) == 1.0


def _in_float(view: GraphView, node: onnx.NodeProto, quantized: set[str]) -> bool:
    if moved_tensors(view, node):
        return False
    output = node.output[0]
    if clamp_of(view, node) is not None or channel_clamp_of(view, node) is not None:
        return output not in quantized and after_clamps(view, output) not in quantized
    weighted = node.op_type in _PRODUCTS
    activations = [name for name in node.input if name and view.constant(name) is None]
    inputs = list(node.input[:2]) if weighted else activations
    if node.op_type not in _INTEGER_KERNELS or not all(name in quantized for name in inputs):
        return True
    if weighted and node.op_type != "Conv":
        return False
    return output not in quantized and after_clamps(view, output) not in quantized
