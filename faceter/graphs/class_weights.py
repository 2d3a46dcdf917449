"""How the units of a layer feed the classes, where only one linear layer lies between."""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx

from faceter.graphs.view import Array, GraphView, attribute

_THROUGH: Final = frozenset(
    {
        "AveragePool",
        "Dropout",
        "Flatten",
        "GlobalAveragePool",
        "Identity",
        "ReduceMean",
        "Relu",
        "Reshape",
        "Squeeze",
        "Unsqueeze",
        "DequantizeLinear",
        "QuantizeLinear",
        "Clip",
    }
)
"""Operators that leave units apart, so that a weight behind them is a weight of the unit."""


def class_weights(model: onnx.ModelProto, tensor: str, units: int, classes: int) -> Array | None:
    """Return the weights from the units of a tensor to the classes, float [classes, units].

    Args:
        model: The model, its weights unpacked.
        tensor: Name of the layer.
        units: How many it has.
        classes: How many classes there are.

    Returns:
        None where something else than one linear layer lies between the two.
    """
    view = GraphView(model)
    name = tensor
    while True:
        readers = view.consumers.get(name, [])
        if len(readers) != 1:
            return None
        (node,) = readers
        if node.op_type in ("Gemm", "MatMul"):
            return _weights(view, node, name, units, classes)
        if node.op_type not in _THROUGH or node.input[0] != name:
            return None
        name = node.output[0]


def _weights(view: GraphView, node: onnx.NodeProto, name: str, units: int, classes: int) -> Array | None:
    """Return the weights of a linear node if they go from each unit to each class."""
    if node.input[0] != name:
        return None
    weight = _value(view, node.input[1])
    if weight is None or weight.ndim != 2:
        return None
    if not (node.op_type == "Gemm" and attribute(node, "transB", 0)):
        weight = weight.T
    return np.asarray(weight) if weight.shape == (classes, units) else None


def _value(view: GraphView, name: str) -> Array | None:
    """Return a constant, one that is kept as integer codes dequantized."""
    found = view.constant(name)
    node = view.producer.get(name)
    if found is None and node is not None and node.op_type in ("DequantizeLinear", "Transpose", "Identity"):
        parts = [value for part in node.input if (value := _value(view, part)) is not None]
        if len(parts) < len(node.input):
            return None
        if node.op_type == "Transpose":
            return np.transpose(parts[0], attribute(node, "perm"))
        return parts[0] if node.op_type == "Identity" else _dequantized(node, *parts)
    return found


def _dequantized(node: onnx.NodeProto, codes: Array, scale: Array, zero_point: Array | None = None) -> Array:
    shape = [1] * codes.ndim
    if scale.ndim:
        shape[attribute(node, "axis", 1)] = -1
    shifted = codes.astype(np.float64) - (0 if zero_point is None else zero_point.astype(np.float64).reshape(shape))
    return np.asarray(shifted * scale.astype(np.float64).reshape(shape))
