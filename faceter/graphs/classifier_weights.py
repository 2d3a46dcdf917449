"""Weights from the units of a layer to the classes, where only one linear layer lies between."""

from typing import Final

import numpy as np
import onnx

from faceter.graphs.view import Array, GraphView, attribute

_CHANNELWISE: Final = frozenset(
    {
        "AveragePool",
        "Clip",
        "DequantizeLinear",
        "Dropout",
        "Flatten",
        "GlobalAveragePool",
        "Identity",
        "QuantizeLinear",
        "ReduceMean",
        "Relu",
        "Reshape",
        "Squeeze",
        "Unsqueeze",
    }
)
"""Operators that do not mix units, so that a weight after them is still a weight of one unit."""


def classifier_weights(model: onnx.ModelProto, tensor: str, units: int, classes: int) -> Array | None:
    """Return the weights of the linear layer from the units of a tensor to the classes, float [classes, units].

    Args:
        model: A model with unpacked weights.
        tensor: Name of the layer's tensor.
        units: Number of its units.
        classes: Number of classes.

    Returns:
        None where anything but one linear layer and operators that do not mix units lies between.
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
        if node.op_type not in _CHANNELWISE or node.input[0] != name:
            return None
        name = node.output[0]


def _weights(view: GraphView, node: onnx.NodeProto, name: str, units: int, classes: int) -> Array | None:
    """Return the weights [classes, units] of a linear node that reads ``name``; None if they have another shape."""
    if node.input[0] != name:
        return None
    weight = _float_constant(view, node.input[1])
    if weight is None or weight.ndim != 2:
        return None
    if not (node.op_type == "Gemm" and attribute(node, "transB", 0)):
        weight = weight.T
    return np.asarray(weight) if weight.shape == (classes, units) else None


def _float_constant(view: GraphView, name: str) -> Array | None:
    """Return the value of a constant, dequantized if it is stored as integer codes."""
    value = view.constant(name)
    node = view.producer.get(name)
    if value is None and node is not None and node.op_type in ("DequantizeLinear", "Transpose", "Identity"):
        inputs = [item for source in node.input if (item := _float_constant(view, source)) is not None]
        if len(inputs) < len(node.input):
            return None
        if node.op_type == "Transpose":
            return np.transpose(inputs[0], attribute(node, "perm"))
        return inputs[0] if node.op_type == "Identity" else _dequantized(node, *inputs)
    return value


def _dequantized(node: onnx.NodeProto, codes: Array, scale: Array, zero_point: Array | None = None) -> Array:
    shape = [1] * codes.ndim
    if scale.ndim:
        shape[attribute(node, "axis", 1)] = -1
    shifted = codes.astype(np.float64) - (0 if zero_point is None else zero_point.astype(np.float64).reshape(shape))
    return np.asarray(shifted * scale.astype(np.float64).reshape(shape))
