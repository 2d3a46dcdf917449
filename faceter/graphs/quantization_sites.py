"""Where quantizers go in a graph: on weights, and on the activations that integer kernels read and write."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.graphs.float_gates import is_float_gate
from faceter.graphs.macs import multiply_accumulates
from faceter.graphs.output_decoding import is_decoded, is_expectation, is_small_part
from faceter.graphs.shapes import infer_shapes
from faceter.graphs.view import Array, GraphView, attribute, is_standard, node_name
from faceter.graphs.weight_rows import RECURRENT, weight_of

Role = Literal["input", "full", "wide"]

_MATRIX_PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operators that multiply and accumulate."""
_CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})
_CLAMPS = frozenset({"Relu", "Clip"})
"""Activation functions that the clamp of the codes computes without cost."""
_ARITHMETIC = frozenset({"Add", "Mul", "GlobalAveragePool", "AveragePool", "LeakyRelu", "Sigmoid"})
_DATA_MOVEMENT = frozenset(
    {
        "Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "MaxPool", "Pad", "Reshape", "Resize",
        "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
    }
)  # fmt: skip


@dataclass(frozen=True)
class WeightSite:
    """A weight tensor of convolutions, matrix products, recurrent layers or embeddings.

    Attributes:
        name: The initializer.
        layers: Names of the nodes that read it.
        axis: Its axis of output channels; None where one scale per channel is not possible.
        dequantized: Whether its layers compute in float, with the dequantized weight: they have no integer kernel.
    """

    name: str
    layers: tuple[str, ...]
    axis: int | None
    dequantized: bool = False


@dataclass(frozen=True)
class ActivationSite:
    """Activations that share one quantizer, because only data-movement operators lie between them.

    Attributes:
        name: Key of the quantizer in a plan: the first of ``tensors``.
        tensors: Tensors that a quantizer is applied to: an input of the graph, or the result of an arithmetic node,
            after its ReLU or Clip. Calibration and simulated quantization use these.
        moved: Tensors with values of those after data movement (Concat, Slice, MaxPool, …); already quantized.
        layer: Name of the node that computes the first tensor; None for an input of the graph.
        role: ``input``: an input of the graph, always 8 bits. ``full``: an operand of a convolution or matrix product,
            or the result of a residual addition; has the requested activation bits. ``wide``: any other result of an
            integer kernel, such as a summand or an output of the network; 8 bits.
    """

    name: str
    tensors: tuple[str, ...]
    moved: tuple[str, ...]
    layer: str | None
    role: Role

    def bits(self, activation_bits: int) -> int:
        """Return the bits of these activations where ``activation_bits`` are requested."""
        return activation_bits if self.role == "full" else 8


@dataclass(frozen=True)
class QuantizationSites:
    """All sites of a graph: weights in the order of use, activations in the order of computation."""

    weights: tuple[WeightSite, ...]
    activations: tuple[ActivationSite, ...]

    def activation(self, tensor: str) -> ActivationSite | None:
        """Return the site of a tensor, None if it stays float."""
        return next((site for site in self.activations if tensor in site.tensors or tensor in site.moved), None)


def find_quantization_sites(model: onnx.ModelProto) -> QuantizationSites:
    """Find the weights and activations to quantize so that the graph runs on integer kernels.

    The operands of every convolution and matrix product are quantized; of recurrent layers, embeddings and other
    Einsums the weights alone. From there the search goes upstream through
    data-movement operators (same quantizer), through ReLU and Clip (computed by the clamp of the codes), and through
    additions, products and average pooling (which have integer kernels if inputs and output are quantized).

    Args:
        model: A canonical model with BatchNormalization folded.

    Raises:
        FaceterError: NOTHING_TO_QUANTIZE where no layer has float32 weights.
    """
    return _SiteSearch(model).sites()


def clamp_of(view: GraphView, node: onnx.NodeProto) -> tuple[float, float] | None:
    """Return the bounds of a Relu or of a Clip with constant bounds; None for any other node."""
    if not is_standard(node) or node.op_type not in _CLAMPS:
        return None
    if node.op_type == "Relu":
        return 0.0, np.inf
    bounds = [-np.inf, np.inf]
    for index, name in enumerate(list(node.input)[1:3]):
        if name:
            value = view.constant(name)
            if value is None:
                return None
            bounds[index] = float(value)
    return bounds[0], bounds[1]


def channel_clamp_of(view: GraphView, node: onnx.NodeProto) -> Array | None:
    """Return the upper bounds of a Min with one constant per channel, [C, 1, …]; None for any other node."""
    if not is_standard(node) or node.op_type != "Min" or len(node.input) != 2:
        return None
    bound = view.constant(node.input[1])
    if bound is None or bound.dtype != np.float32 or bound.ndim < 1 or bound.size != bound.shape[0]:
        return None
    return bound if np.all(bound > 0) else None


def after_clamps(view: GraphView, name: str) -> str:
    """Return what the ReLU or Clip, and the Min per channel, that alone read a tensor make of it; else the tensor."""
    reader = view.only_consumer(name)
    if reader is not None and clamp_of(view, reader) is not None:
        name = reader.output[0]
        reader = view.only_consumer(name)
    return reader.output[0] if reader is not None and channel_clamp_of(view, reader) is not None else name


def before_clamps(view: GraphView, node: onnx.NodeProto, *, shared: bool = False) -> onnx.NodeProto | None:
    """Return the node before a Min per channel and before a ReLU or Clip; the node itself if it is neither.

    Args:
        shared: Whether others may read what is clamped; None is returned if they do and this is not set.
    """
    for is_clamp in (channel_clamp_of, clamp_of):
        if is_clamp(view, node) is None:
            continue
        inner = view.producer.get(node.input[0])
        if inner is None or not (shared or view.only_consumer(node.input[0]) is not None):
            return None
        node = inner
    return node


class _SiteSearch:
    """Union-find over tensors: those that must share a quantizer have one root.

    Attributes:
        parent: Parent of each quantized tensor; a root is its own parent.
        ties: Pairs (output, input) of data-movement nodes, which share a quantizer.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.view = GraphView(model)
        self.shapes = infer_shapes(model)
        self.order = {name: index for index, name in enumerate(self.view.inputs)}
        for node in self.view.graph.node:
            for name in node.output:
                self.order[name] = len(self.order)
        self.parent: dict[str, str] = {}
        self.ties: list[tuple[str, str]] = []

    def sites(self) -> QuantizationSites:
        weights = self._weights()
        if not weights:
            raise FaceterError(
                ProblemKind.NOTHING_TO_QUANTIZE,
                "The model has no convolution, matrix product, recurrent layer or embedding with constant float32 "
                "weights, so there is nothing to quantize.",
            )
        operands = self._operands()
        self._require(operands)
        for node in self.view.graph.node:
            integer = node.op_type == "Conv" and self._float(node.output[0]) and node.input[0] in self.parent
            if integer and not self._is_decoded_head(node):
                self._require_result(node.output[0])
        for name, source in self.ties:
            self.parent[self._root(name)] = self._root(source)
        full = {self._root(name) for name in operands}
        full |= {self._root(name) for name in self.parent if self._is_sum(name)}
        groups: dict[str, list[str]] = {}
        for name in sorted(self.parent, key=self.order.__getitem__):
            groups.setdefault(self._root(name), []).append(name)
        moved = {name for name, _ in self.ties}
        sites = [self._site(members, moved, root in full) for root, members in groups.items()]
        return QuantizationSites(tuple(weights), tuple(sites))

    def _site(self, members: list[str], moved: set[str], full: bool) -> ActivationSite:
        tensors = tuple(name for name in members if name not in moved)
        role: Role = "full" if full else "wide"
        if any(name in self.view.inputs for name in tensors):
            role = "input"
        producer = self.view.producer.get(tensors[0])
        moved_members = tuple(name for name in members if name in moved)
        return ActivationSite(
            tensors[0], tensors, moved_members, None if producer is None else node_name(producer), role
        )

    def _weights(self) -> list[WeightSite]:
        users: dict[str, tuple[list[str], set[int | None], set[bool]]] = {}
        for node in self.view.graph.node:
            for name, axis, dequantized in self._weights_of(node):
                layers, axes, kinds = users.setdefault(name, ([], set(), set()))
                layers.append(node_name(node))
                axes.add(axis)
                kinds.add(dequantized)
        return [
            WeightSite(name, tuple(layers), next(iter(axes)) if len(axes) == 1 else None, all(kinds))
            for name, (layers, axes, kinds) in users.items()
        ]

    def _weights_of(self, node: onnx.NodeProto) -> Iterable[tuple[str, int | None, bool]]:
        """Yield (initializer, channel axis, whether it is dequantized) of a node's weights."""
        if self._is_matrix_product(node):
            for position, name in enumerate(list(node.input)[:2]):
                stored = weight_of(self.view, name) if node.op_type in _CONVOLUTIONS else name
                if stored is not None and self._is_float_weight(stored):
                    yield stored, self._channel_axis(node, position, stored), node.op_type == "ConvTranspose"
        elif is_standard(node) and self._float(node.output[0] or node.output[-1]):
            if node.op_type in RECURRENT:
                for name in node.input[1:3]:
                    stored = weight_of(self.view, name)
                    if stored is not None and self._is_float_weight(stored):
                        yield stored, 0 if stored != name else None, True
            elif is_embedding(self.view, node) and self._is_float_weight(node.input[0]):
                yield node.input[0], 1, True
            elif node.op_type == "Einsum":
                yield from ((name, None, True) for name in node.input if self._is_float_weight(name))

    def _is_float_weight(self, name: str) -> bool:
        return self.view.is_initializer(name) and self._float(name) and bool(len(self.view.tensor(name).dims))

    def _channel_axis(self, node: onnx.NodeProto, position: int, stored: str) -> int | None:
        rank = len(self.view.tensor(stored).dims)
        if node.op_type == "Conv" or stored != node.input[position]:
            return 0
        if node.op_type == "ConvTranspose":
            return 1 if attribute(node, "group", 1) == 1 else None
        if node.op_type == "Gemm" and position == 1:
            return 0 if attribute(node, "transB", 0) else 1
        return 1 if position == 1 and rank == 2 else None

    def _is_matrix_product(self, node: onnx.NodeProto) -> bool:
        """Whether a node is a convolution or matrix product that can be quantized."""
        if not is_standard(node) or node.op_type not in _MATRIX_PRODUCTS or not self._float(node.output[0]):
            return False
        if is_expectation(self.view, node):
            return False
        if node.op_type in _CONVOLUTIONS:
            return weight_of(self.view, node.input[1]) is not None and not self.view.is_initializer(node.input[0])
        if node.op_type == "Gemm" and (attribute(node, "alpha", 1.0) != 1.0 or attribute(node, "beta", 1.0) != 1.0):
            return False
        return not all(self.view.is_initializer(name) for name in list(node.input)[:2])

    def _is_decoded_head(self, node: onnx.NodeProto) -> bool:
        """Whether a convolution gives values that the graph itself decodes to outputs, and is a small part of it."""
        if not is_decoded(self.view, node.output[0], self.parent):
            return False
        products = [item for item in self.view.graph.node if multiply_accumulates(item, self.shapes) != 0]
        return is_small_part(products, node, self.shapes)

    def _operands(self) -> list[str]:
        """Return the activations that are operands of a convolution or matrix product."""
        operands: dict[str, None] = {}
        for node in self.view.graph.node:
            if self._is_matrix_product(node):
                for name in list(node.input)[: 1 if node.op_type in _CONVOLUTIONS else 2]:
                    if not self.view.is_initializer(name):
                        operands[name] = None
        return list(operands)

    def _require(self, names: Iterable[str]) -> None:
        """Mark tensors as quantized, and the upstream tensors that integer kernels need for them."""
        queue = list(names)
        while queue:
            name = queue.pop()
            if name in self.parent:
                continue
            self.parent[name] = name
            producer = self.view.producer.get(name)
            if producer is None:
                continue
            sources = moved_tensors(self.view, producer) if self._float(producer.output[0]) else []
            if sources:
                self.ties += [(name, source) for source in sources]
                queue.extend(sources)
                continue
            inner = before_clamps(self.view, producer)
            if inner is not None and self._arithmetic(inner) and not is_float_gate(self.view, inner):
                queue.extend(name for name in inner.input if name)

    def _require_result(self, name: str) -> None:
        """Mark a convolution's result as quantized, or what its ReLU or clip gives if nothing else reads it."""
        self._require([after_clamps(self.view, name)])

    def _arithmetic(self, node: onnx.NodeProto) -> bool:
        if not is_standard(node) or node.op_type not in _ARITHMETIC:
            return False
        sources = [name for name in node.input if name]
        return all(self._float(name) and self.view.constant(name) is None for name in sources)

    def _is_sum(self, name: str) -> bool:
        """Whether a tensor is the sum of two quantized activations, or the ReLU or Clip of one."""
        producer = self.view.producer.get(name)
        inner = None if producer is None else before_clamps(self.view, producer, shared=True)
        return inner is not None and inner.op_type == "Add" and self._arithmetic(inner)

    def _root(self, name: str) -> str:
        while self.parent[name] != name:
            name = self.parent[name]
        return name

    def _float(self, name: str) -> bool:
        info = self.shapes.get(name)
        return info is not None and info.dtype == "float32"


def is_embedding(view: GraphView, node: onnx.NodeProto) -> bool:
    """Whether a node looks rows of a constant table up, as an embedding of tokens does."""
    if node.op_type != "Gather" or not is_standard(node) or attribute(node, "axis", 0) != 0:
        return False
    table, index = node.input[:2]
    return view.is_initializer(table) and len(view.tensor(table).dims) == 2 and view.constant(index) is None


def moved_tensors(view: GraphView, node: onnx.NodeProto) -> list[str]:
    """Return the activations that a data-movement node copies to its output unchanged; empty for other nodes."""
    if not is_standard(node) or node.op_type not in _DATA_MOVEMENT:
        return []
    if node.op_type == "Concat":
        constant = any(view.constant(name) is not None for name in node.input)
        return [] if constant else list(dict.fromkeys(node.input))
    if view.constant(node.input[0]) is not None:
        return []
    if node.op_type == "MaxPool" and len(node.output) > 1:
        return []
    if node.op_type == "Resize" and attribute(node, "mode", "nearest") != "nearest":
        return []
    if node.op_type == "Pad" and not _pads_with_zero(view, node):
        return []
    return [node.input[0]]


def _pads_with_zero(view: GraphView, node: onnx.NodeProto) -> bool:
    if attribute(node, "mode", "constant") != "constant":
        return True
    if len(node.input) < 3 or not node.input[2]:
        return True
    value = view.constant(node.input[2])
    return value is not None and not np.any(value)
