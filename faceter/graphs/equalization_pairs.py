"""Pairs of layers whose channels can be rescaled against each other without changing what the network computes."""

from dataclasses import dataclass

import numpy as np
import onnx

from faceter.graphs import shapes as shape_inference
from faceter.graphs.shapes import TensorInfo
from faceter.graphs.sites import clamp_of
from faceter.graphs.view import Array, GraphView, attribute, is_standard, node_name

_LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_HOMOGENEOUS = frozenset({"Relu", "PRelu", "LeakyRelu"})
_POOLING = frozenset({"MaxPool", "AveragePool", "GlobalAveragePool"})


@dataclass(frozen=True)
class LayerWeights:
    """How a layer's weight tensor holds its channels.

    Attributes:
        name: Name of the node.
        operator: Conv, ConvTranspose, Gemm or MatMul.
        weight: The initializer of its weights.
        bias: The initializer of its bias; None where it has none.
        groups: Groups of a convolution; 1 for a matrix product.
        transposed: For a Gemm, whether its weights lie [outputs, inputs].
        output: The tensor it gives, before any activation function.
    """

    name: str
    operator: str
    weight: str
    bias: str | None
    groups: int
    transposed: bool
    output: str

    def by_output(self, weight: Array) -> Array:
        """Return a weight as [outputs, everything else], for a range per output channel."""
        if self.operator == "Conv":
            return weight.reshape(weight.shape[0], -1)
        if self.operator == "ConvTranspose":
            split = weight.reshape(self.groups, -1, weight.shape[1], int(np.prod(weight.shape[2:])))
            return split.transpose(0, 2, 1, 3).reshape(self.groups * weight.shape[1], -1)
        return weight if self.transposed else weight.T

    def by_input(self, weight: Array) -> Array:
        """Return a weight as [inputs, everything else], for a range per input channel."""
        if self.operator == "Conv":
            split = weight.reshape(self.groups, -1, weight.shape[1], int(np.prod(weight.shape[2:])))
            return split.transpose(0, 2, 1, 3).reshape(self.groups * weight.shape[1], -1)
        if self.operator == "ConvTranspose":
            return weight.reshape(weight.shape[0], -1)
        return weight.T if self.transposed else weight

    def scale_outputs(self, weight: Array, factor: Array) -> Array:
        """Return a weight with each output channel multiplied by its factor [outputs]."""
        if self.operator == "Conv":
            return weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
        if self.operator == "ConvTranspose":
            per_group = factor.reshape(self.groups, 1, -1, *[1] * (weight.ndim - 2))
            split = weight.reshape(self.groups, -1, *weight.shape[1:])
            return (split * per_group).reshape(weight.shape)
        return weight * (factor[:, None] if self.transposed else factor)

    def scale_inputs(self, weight: Array, factor: Array) -> Array:
        """Return a weight with what each input channel meets multiplied by its factor [inputs]."""
        if self.operator == "Conv":
            per_group = factor.reshape(self.groups, 1, -1, *[1] * (weight.ndim - 2))
            split = weight.reshape(self.groups, -1, *weight.shape[1:])
            return (split * per_group).reshape(weight.shape)
        if self.operator == "ConvTranspose":
            return weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
        return weight * (factor if self.transposed else factor[:, None])


@dataclass(frozen=True)
class EqualizationPair:
    """Two layers with nothing between them but functions f with f(s x) = s f(x) for s > 0, channel by channel.

    Attributes:
        first: The layer that makes the channels.
        second: The layer that reads them, and alone does.
        between: Names of the nodes between them, in order.
        activation: The activation function among them: Relu, PRelu, LeakyRelu or None.
        entering: The tensor that enters the second layer.
    """

    first: LayerWeights
    second: LayerWeights
    between: tuple[str, ...]
    activation: str | None
    entering: str


def find_pairs(model: onnx.ModelProto) -> list[EqualizationPair]:
    """Find the layers to equalize, in the order they run.

    Between the two may lie ReLU, PReLU, LeakyReLU and pooling, and either may be depthwise. A tensor that anything
    else reads ends a pair: there is no equalizing across branches. So does ReLU6; see `replace_relu6`.

    Args:
        model: A canonical model with BatchNormalization folded.

    References:
        Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019,
        arXiv 1906.04721, section 4.1.
    """
    view = GraphView(model)
    found = shape_inference.infer(model)
    pairs = []
    for node in view.graph.node:
        first = _layer(view, found, node)
        if first is not None:
            pair = _pair(view, found, first, frozenset())
            if pair is not None:
                pairs.append(pair)
    return pairs


def replace_relu6(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with each ReLU6 (a Clip from 0) that stands in the way of equalization replaced by ReLU.

    This changes the function where activations exceed the clip, as the paper accepts.

    Args:
        model: A canonical model with BatchNormalization folded; it is not changed.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    view = GraphView(changed)
    found = shape_inference.infer(changed)
    clips = {
        node_name(node): node
        for node in view.graph.node
        if node.op_type == "Clip" and (clamp_of(view, node) or (1.0, 0.0))[0] == 0.0
    }
    for node in view.graph.node:
        first = _layer(view, found, node)
        pair = None if first is None else _pair(view, found, first, frozenset(clips))
        for name in () if pair is None else pair.between:
            if name in clips:
                clips[name].op_type = "Relu"
                del clips[name].input[1:]
    return changed


def _layer(view: GraphView, found: dict[str, TensorInfo], node: onnx.NodeProto) -> LayerWeights | None:
    if not is_standard(node) or node.op_type not in _LAYERS or not view.is_initializer(node.input[1]):
        return None
    info = found[node.input[1]]
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
    view: GraphView, found: dict[str, TensorInfo], first: LayerWeights, passable: frozenset[str]
) -> EqualizationPair | None:
    between: list[str] = []
    activation = None
    tensor = first.output
    while True:
        reader = view.only_consumer(tensor)
        if reader is None or not is_standard(reader) or reader.input[0] != tensor:
            return None
        second = _layer(view, found, reader)
        if second is not None:
            if second.operator == "MatMul" and first.operator not in ("Gemm", "MatMul"):
                return None
            return EqualizationPair(first, second, tuple(between), activation, tensor)
        if reader.op_type in _HOMOGENEOUS or node_name(reader) in passable:
            if reader.op_type == "PRelu" and not _slope_is_constant(view, reader):
                return None
            activation = reader.op_type
        elif not _keeps_channels(found, reader):
            return None
        between.append(node_name(reader))
        tensor = reader.output[0]


def _slope_is_constant(view: GraphView, node: onnx.NodeProto) -> bool:
    return view.constant(node.input[1]) is not None


def _keeps_channels(found: dict[str, TensorInfo], node: onnx.NodeProto) -> bool:
    if node.op_type in _POOLING:
        return len([name for name in node.output if name]) == 1
    if node.op_type == "Flatten":
        info = found.get(node.input[0])
        shape = None if info is None else info.shape
        return attribute(node, "axis", 1) == 1 and shape is not None and all(size == 1 for size in shape[2:])
    return False
