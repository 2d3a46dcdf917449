"""Pairs of layers for cross-layer equalization: a channel scale of the first can be undone in the second."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import onnx

from faceter.graphs.quantization_sites import channel_clamp_of, clamp_of
from faceter.graphs.shapes import TensorInfo, infer_shapes
from faceter.graphs.view import Array, GraphView, attribute, is_standard, node_name, replace_nodes
from faceter.graphs.weight_rows import weight_of

_LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_HOMOGENEOUS = frozenset({"Relu", "PRelu", "LeakyRelu"})
_POOLING = frozenset({"MaxPool", "AveragePool", "GlobalAveragePool"})


@dataclass(frozen=True)
class LayerWeights:
    """A layer to equalize, and the layout of its weight tensor.

    Attributes:
        name: Name of the node.
        operator: Conv, ConvTranspose, Gemm or MatMul. A transposed convolution whose weights are rows counts as a Conv,
            whose layout they have.
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
        bounds: Initializers of upper bounds per channel, of a Min among them; they scale with the channels.
    """

    first: LayerWeights
    second: LayerWeights
    between: tuple[str, ...]
    activation: str | None
    entering: str
    bounds: tuple[str, ...] = ()


def find_pairs(model: onnx.ModelProto) -> list[EqualizationPair]:
    """Find the pairs of layers to equalize, in the order of execution.

    ReLU, PReLU, LeakyReLU, pooling and a Min with one bound per channel may lie between them, and either layer may be
    depthwise. A tensor with a second reader breaks a pair: branches are not equalized. So does ReLU6; see
    `clips_by_channel`.

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


def clips_by_channel(model: onnx.ModelProto, layers: Collection[str] | None = None) -> onnx.ModelProto:
    """Return the model with each ReLU6 (a Clip from 0) between two layers to equalize as ReLU and Min.

    The Min has one bound per channel, so that a pair of layers can be equalized across it: a channel divided by s is
    clipped at 6 / s. The function does not change.

    Args:
        model: A canonical model with BatchNormalization folded; it is not changed.
        layers: Names of the first layers of the pairs that are changed; all if not given.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    view = GraphView(changed)
    shapes = infer_shapes(changed)
    clips = {node_name(node): node for node in view.graph.node if _bound_of(view, node) is not None}
    if not clips:
        return changed
    split: dict[str, onnx.NodeProto] = {}
    for node in view.graph.node:
        first = _layer(view, shapes, node)
        pair = None if first is None else _pair(view, shapes, first, frozenset(clips))
        if pair is None or not (layers is None or pair.first.name in layers):
            continue
        for name in pair.between:
            rank = _rank(shapes, clips[name].output[0]) if name in clips else 0
            if rank >= 2 and name not in split:
                split[name] = _split_clip(view, clips[name], _channels(view, pair.second), rank)
    nodes: list[onnx.NodeProto] = []
    for node in view.graph.node:
        nodes += [node, split[node_name(node)]] if node_name(node) in split else [node]
    replace_nodes(changed.graph, nodes)
    return changed


def _bound_of(view: GraphView, node: onnx.NodeProto) -> float | None:
    """Return the upper bound of a Clip from 0 to a positive number; None for any other node."""
    clamp = clamp_of(view, node) if node.op_type == "Clip" else None
    return clamp[1] if clamp is not None and clamp[0] == 0.0 and 0.0 < clamp[1] < np.inf else None


def _split_clip(view: GraphView, clip: onnx.NodeProto, channels: int, rank: int) -> onnx.NodeProto:
    """Make a Clip a Relu, in place, and return the Min that follows it."""
    bound = np.full((channels, *[1] * (rank - 2)), _bound_of(view, clip), np.float32)
    result = clip.output[0]
    clip.op_type = "Relu"
    del clip.input[1:]
    clip.output[0] = view.unique(f"{result}/unbounded")
    limit = view.add_initializer(f"{result}/bound", bound)
    return onnx.helper.make_node("Min", [clip.output[0], limit], [result], f"{node_name(clip)}/bound")


def _channels(view: GraphView, layer: LayerWeights) -> int:
    value = view.constant(layer.weight)
    return 0 if value is None else len(layer.by_input(value))


def _rank(shapes: dict[str, TensorInfo], name: str) -> int:
    info = shapes.get(name)
    return 0 if info is None or info.shape is None else len(info.shape)


def _layer(view: GraphView, shapes: dict[str, TensorInfo], node: onnx.NodeProto) -> LayerWeights | None:
    if not is_standard(node) or node.op_type not in _LAYERS:
        return None
    weight = weight_of(view, node.input[1])
    in_rows = weight != node.input[1]
    if weight is None or (in_rows and node.op_type != "ConvTranspose"):
        return None
    info = shapes[weight]
    shared = len(view.consumers[weight]) > 1 or len(view.consumers[node.input[1]]) > 1
    if info.dtype != "float32" or info.shape is None or shared:
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
        operator="Conv" if in_rows else node.op_type,
        weight=weight,
        bias=bias,
        groups=attribute(node, "group", 1),
        transposed=bool(attribute(node, "transB", 0)),
        output=node.output[0],
    )


def _pair(
    view: GraphView, shapes: dict[str, TensorInfo], first: LayerWeights, passable: frozenset[str]
) -> EqualizationPair | None:
    between: list[str] = []
    bounds: list[str] = []
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
            return EqualizationPair(first, second, tuple(between), activation, tensor, tuple(bounds))
        if reader.op_type in _HOMOGENEOUS or node_name(reader) in passable:
            if reader.op_type == "PRelu" and not _slope_is_constant(view, reader):
                return None
            activation = reader.op_type
        elif _bounds_channels(view, shapes, reader):
            bounds.append(reader.input[1])
        elif not _keeps_channels(shapes, reader):
            return None
        between.append(node_name(reader))
        tensor = reader.output[0]


def _bounds_channels(view: GraphView, shapes: dict[str, TensorInfo], node: onnx.NodeProto) -> bool:
    """Whether a node is a Min with an upper bound for each channel of its input, which nothing else reads."""
    bound, rank = channel_clamp_of(view, node), _rank(shapes, node.input[0])
    if bound is None or not view.is_initializer(node.input[1]) or len(view.consumers[node.input[1]]) > 1:
        return False
    return rank >= 2 and bound.ndim == rank - 1


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
