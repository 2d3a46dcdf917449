"""Where quantizers go in a graph: on weights, and on the activations that integer kernels read and write."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.graphs.shapes import infer_shapes
from faceter.graphs.view import GraphView, attribute, is_standard, node_name

Role = Literal["input", "full", "wide"]

_MATRIX_PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operators that multiply and accumulate."""
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
    """A weight tensor of convolutions or matrix products.

    Attributes:
        name: The initializer.
        layers: Names of the nodes that read it.
        axis: Its axis of output channels; None where one scale per channel is not possible.
    """

    name: str
    layers: tuple[str, ...]
    axis: int | None


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

    The operands of every convolution and matrix product are quantized. From there the search goes upstream through
    data-movement operators (same quantizer), through ReLU and Clip (computed by the clamp of the codes), and through
    additions, products and average pooling (which have integer kernels if inputs and output are quantized).

    Args:
        model: A canonical model with BatchNormalization folded.

    Raises:
        FaceterError: NOTHING_TO_QUANTIZE where no convolution or matrix product has float32 weights.
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
                "The model has no convolution or matrix product with constant float32 weights, "
                "so there is nothing to quantize.",
            )
        operands = self._operands()
        self._require(operands)
        for node in self.view.graph.node:
            if node.op_type == "Conv" and self._float(node.output[0]) and node.input[0] in self.parent:
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
        users: dict[str, tuple[list[str], set[int | None]]] = {}
        for node in self.view.graph.node:
            if self._is_matrix_product(node):
                for name, axis in self._weights_of(node):
                    layers, axes = users.setdefault(name, ([], set()))
                    layers.append(node_name(node))
                    axes.add(axis)
        return [
            WeightSite(name, tuple(layers), next(iter(axes)) if len(axes) == 1 else None)
            for name, (layers, axes) in users.items()
        ]

    def _weights_of(self, node: onnx.NodeProto) -> Iterable[tuple[str, int | None]]:
        for position, name in enumerate(list(node.input)[:2]):
            if not self.view.is_initializer(name):
                continue
            rank = len(self.view.tensor(name).dims)
            if node.op_type == "Conv":
                yield name, 0
            elif node.op_type == "ConvTranspose":
                yield name, 1 if attribute(node, "group", 1) == 1 else None
            elif node.op_type == "Gemm" and position == 1:
                yield name, 0 if attribute(node, "transB", 0) else 1
            else:
                yield name, 1 if position == 1 and rank == 2 else None

    def _is_matrix_product(self, node: onnx.NodeProto) -> bool:
        """Whether a node is a convolution or matrix product that can be quantized."""
        if not is_standard(node) or node.op_type not in _MATRIX_PRODUCTS or not self._float(node.output[0]):
            return False
        if node.op_type in ("Conv", "ConvTranspose"):
            return self.view.is_initializer(node.input[1]) and not self.view.is_initializer(node.input[0])
        if node.op_type == "Gemm" and (attribute(node, "alpha", 1.0) != 1.0 or attribute(node, "beta", 1.0) != 1.0):
            return False
        return not all(self.view.is_initializer(name) for name in list(node.input)[:2])

    def _operands(self) -> list[str]:
        """Return the activations that are operands of a convolution or matrix product."""
        operands: dict[str, None] = {}
        for node in self.view.graph.node:
            if self._is_matrix_product(node):
                for name in list(node.input)[: 1 if node.op_type in ("Conv", "ConvTranspose") else 2]:
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
            if clamp_of(self.view, producer) is not None:
                inner = self.view.producer.get(producer.input[0])
                if inner is None or self.view.only_consumer(producer.input[0]) is None:
                    continue
                producer = inner
            if self._arithmetic(producer):
                queue.extend(name for name in producer.input if name)

    def _require_result(self, name: str) -> None:
        """Mark a convolution's result as quantized, or its ReLU or Clip if nothing else reads it."""
        reader = self.view.only_consumer(name)
        self._require([reader.output[0] if reader is not None and clamp_of(self.view, reader) is not None else name])

    def _arithmetic(self, node: onnx.NodeProto) -> bool:
        if not is_standard(node) or node.op_type not in _ARITHMETIC:
            return False
        sources = [name for name in node.input if name]
        return all(self._float(name) and self.view.constant(name) is None for name in sources)

    def _is_sum(self, name: str) -> bool:
        """Whether a tensor is the sum of two quantized activations, or the ReLU or Clip of one."""
        producer = self.view.producer.get(name)
        if producer is not None and clamp_of(self.view, producer) is not None:
            producer = self.view.producer.get(producer.input[0])
        return producer is not None and producer.op_type == "Add" and self._arithmetic(producer)

    def _root(self, name: str) -> str:
        while self.parent[name] != name:
            name = self.parent[name]
        return name

    def _float(self, name: str) -> bool:
        info = self.shapes.get(name)
        return info is not None and info.dtype == "float32"


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
