"""Pairs of layers for cross-layer equalization: a channel scale of the first can be undone in the second."""

from dataclasses import dataclass

import numpy as np
import onnx

from faceter.graphs.quantization_sites import clamp_of
from faceter.graphs.shapes import TensorInfo, infer_shapes
from faceter.graphs.view import Array, GraphView, attribute, is_standard, node_name

_LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_HOMOGENEOUS = frozenset({"Relu", "PRelu", "LeakyRelu"})
_POOLING = frozenset({"MaxPool", "AveragePool", "GlobalAveragePool"})


@dataclass(frozen=True)
class LayerWeights:
    """A layer to equalize, and the layout of its weight tensor.

    Attributes:
        name: Name of the node.
        operator: Conv, ConvTranspose, Gemm or MatMul.
        weight: The initializer of its weights.
        bias: The initializer of its bias; None where it has none.
        groups: Groups of a convolution; 1 for a matrix product.
        transposed: For a Gemm, whether its weights are [outputs, inputs].
        output: Its output tensor, before any activation function.
    """

    name: str
    operator: str
    weight: str
    bias: str | None
    groups: int
    transposed: bool
    output: str

    def by_output(self, weight: Array) -> Array:
        """Return a weight as [outputs, elements]."""
        if self.operator == "Conv":
            return weight.reshape(weight.shape[0], -1)
        if self.operator == "ConvTranspose":
            split = weight.reshape(self.groups, -1, weight.shape[1], int(np.prod(weight.shape[2:])))
            return split.transpose(0, 2, 1, 3).reshape(self.groups * weight.shape[1], -1)
        return weight if self.transposed else weight.T

    def by_input(self, weight: Array) -> Array:
        """Return a weight as [inputs, elements]."""
        if self.operator == "Conv":
            split = weight.reshape(self.groups, -1, weight.shape[1], int(np.prod(weight.shape[2:])))
            return split.transpose(0, 2, 1, 3).reshape(self.groups * weight.shape[1], -1)
        if self.operator == "ConvTranspose":
            return weight.reshape(weight.shape[0], -1)
        return weight.T if self.transposed else weight

    def scale_outputs(self, weight: Array, factor: Array) -> Array:
        """Return a weight with each output channel scaled by ``factor`` [outputs]."""
        if self.operator == "Conv":
            return weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
        if self.operator == "ConvTranspose":
            per_group = factor.reshape(self.groups, 1, -1, *[1] * (weight.ndim - 2))
            split = weight.reshape(self.groups, -1, *weight.shape[1:])
            return (split * per_group).reshape(weight.shape)
        return weight * (factor[:, None] if self.transposed else factor)

    def scale_inputs(self, weight: Array, factor: Array) -> Array:
        """Return a weight with each input channel scaled by ``factor`` [inputs]."""
        if self.operator == "Conv":
            per_group = factor.reshape(self.groups, 1, -1, *[1] * (weight.ndim - 2))
            split = weight.reshape(self.groups, -1, *weight.shape[1:])
            return (split * per_group).reshape(weight.shape)
        if self.operator == "ConvTranspose":
            return weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
        return weight * (factor if self.transposed else factor[:, None])


@dataclass(frozen=True)
class EqualizationPair:
    """Two layers with only positively homogeneous functions per channel between them: f(s x) = s f(x) for s > 0.

    Attributes:
        first: The layer whose output channels are scaled.
        second: The only layer that reads them.
        between: Names of the nodes between them, in order.
        activation: The activation function among them: Relu, PRelu, LeakyRelu or None.
        entering: The second layer's input tensor.
    """

    first: LayerWeights
    second: LayerWeights
    between: tuple[str, ...]
    activation: str | None
    entering: str


def find_pairs(model: onnx.ModelProto) -> list[EqualizationPair]:
    """Find the pairs of layers to equalize, in the order of execution.

    ReLU, PReLU, LeakyReLU and pooling may lie between them, and either layer may be depthwise. A tensor with a second
    reader breaks a pair: branches are not equalized. So does ReLU6; see `replace_relu6`.

    Args:
        model: A canonical model with BatchNormalization folded.

    References:
        Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019,
        arXiv 1906.04721, section 4.1.
    """
    view = GraphView(model)
    shapes = infer_shapes(model)
    pairs = []
    for node in view.graph.node:
        first = _layer(view, shapes, node)
        if first is not None:
            pair = _pair(view, shapes, first, frozenset())
            if pair is not None:
                pairs.append(pair)
    return pairs


def replace_relu6(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with each ReLU6 (a Clip from 0) between two layers to equalize replaced by ReLU.

    This changes the function where activations exceed the clip, which the paper accepts.

    Args:
        model: A canonical model with BatchNormalization folded; it is not changed.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    view = GraphView(changed)
    shapes = infer_shapes(changed)
    clips = {
        node_name(node): node
        for node in view.graph.node
        if node.op_type == "Clip" and (clamp_of(view, node) or (1.0, 0.0))[0] == 0.0
    }
    for node in view.graph.node:
        first = _layer(view, shapes, node)
        pair = None if first is None else _pair(view, shapes, first, frozenset(clips))
        for name in () if pair is None else pair.between:
            if name in clips:
                clips[name].op_type = "Relu"
                del clips[name].input[1:]
    return changed


def _layer(view: GraphView, shapes: dict[str, TensorInfo], node: onnx.NodeProto) -> LayerWeights | None:
    if not is_standard(node) or node.op_type not in _LAYERS or not view.is_initializer(node.input[1]):
        return None
    info = shapes[node.input[1]]
    if info.dtype != "float32" or info.shape is None or len(view.consumers[node.input[1]]) > 1:
        return None
    bias = node.input[2] if len(node.input) > 2 and node.input[2] else None
    if bias is not None and (not view.is_initializer(bias) or len(view.consumers[bias]) > 1):
        return None
    if node.op_type in ("Gemm", "MatMul"):
        plain = attribute(node, "alpha", 1.0) == 1.0 and attribute(node, "beta", 1.0) == 1.0
        if len(info.shape) != 2 or not plain or attribute(node, "transA", 0):
            return None
    return LayerWeights(
        name=node_name(node),
        operator=node.op_type,
        weight=node.input[1],
        bias=bias,
        groups=attribute(node, "group", 1),
        transposed=bool(attribute(node, "transB", 0)),
        output=node.output[0],
    )


def _pair(
    view: GraphView, shapes: dict[str, TensorInfo], first: LayerWeights, passable: frozenset[str]
) -> EqualizationPair | None:
    between: list[str] = []
    activation = None
    tensor = first.output
    while True:
        reader = view.only_consumer(tensor)
        if reader is None or not is_standard(reader) or reader.input[0] != tensor:
            return None
        second = _layer(view, shapes, reader)
        if second is not None:
            if second.operator == "MatMul" and first.operator not in ("Gemm", "MatMul"):
                return None
            return EqualizationPair(first, second, tuple(between), activation, tensor)
        if reader.op_type in _HOMOGENEOUS or node_name(reader) in passable:
            if reader.op_type == "PRelu" and not _slope_is_constant(view, reader):
                return None
            activation = reader.op_type
        elif not _keeps_channels(shapes, reader):
            return None
        between.append(node_name(reader))
        tensor = reader.output[0]


def _slope_is_constant(view: GraphView, node: onnx.NodeProto) -> bool:
    return view.constant(node.input[1]) is not None


def _keeps_channels(shapes: dict[str, TensorInfo], node: onnx.NodeProto) -> bool:
    if node.op_type in _POOLING:
        return len([name for name in node.output if name]) == 1
    if node.op_type == "Flatten":
        info = shapes.get(node.input[0])
        shape = None if info is None else info.shape
        return attribute(node, "axis", 1) == 1 and shape is not None and all(size == 1 for size in shape[2:])
    return False
