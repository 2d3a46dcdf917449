"""What is to be quantized in a graph: weights, and the activations that integer kernels read and write."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.graphs import shapes as shape_inference
from faceter.graphs.view import GraphView, attribute, is_standard, node_name

Role = Literal["input", "full", "wide"]

COMPUTING = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operators that multiply weights or activations and accumulate."""
CLAMPING = frozenset({"Relu", "Clip"})
"""Activation functions that are a clamp, and so cost nothing once the codes are clamped."""
_ARITHMETIC = frozenset({"Add", "Mul", "GlobalAveragePool", "AveragePool", "LeakyRelu", "Sigmoid"})
_MOVING = frozenset(
    {
        "Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "MaxPool", "Pad", "Reshape", "Resize",
        "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
    }
)  # fmt: skip


@dataclass(frozen=True)
class WeightSite:
    """The weights of convolutions or matrix products.

    Attributes:
        name: The initializer.
        layers: Names of the nodes that use it.
        axis: Its axis of output channels; None where one scale per channel is not possible.
    """

    name: str
    layers: tuple[str, ...]
    axis: int | None


@dataclass(frozen=True)
class ActivationSite:
    """Activations that share one quantizer, because nodes between them only move values about.

    Attributes:
        name: The tensor the quantizer goes by in a plan: the first of ``tensors``.
        tensors: Tensors that are quantized: a graph input, or what a computing node makes, after its ReLU or Clip.
            Ranges are measured on these and simulated quantization is applied to these.
        moved: Tensors that hold values of those, moved about (Concat, Slice, MaxPool, …); already quantized.
        layer: Name of the node that makes the first tensor; None for an input of the graph.
        role: ``input``: an input of the graph, always 8 bits. ``full``: enters a convolution or matrix product,
            or is the result of a residual addition: as many bits as asked for. ``wide``: anything else that an integer
            kernel makes, such as a summand or an output of the network: 8 bits.
    """

    name: str
    tensors: tuple[str, ...]
    moved: tuple[str, ...]
    layer: str | None
    role: Role

    def bits(self, activation_bits: int) -> int:
        """Return the bits of these activations in a network of ``activation_bits``."""
        return activation_bits if self.role == "full" else 8


@dataclass(frozen=True)
class Sites:
    """Everything that is to be quantized.

    Attributes:
        weights: Weights, in the order they are used.
        activations: Activations, in the order they are made.
    """

    weights: tuple[WeightSite, ...]
    activations: tuple[ActivationSite, ...]

    def activation(self, tensor: str) -> ActivationSite | None:
        """Return the site a tensor belongs to, None if it stays float."""
        return next((site for site in self.activations if tensor in site.tensors or tensor in site.moved), None)


def quantizable(model: onnx.ModelProto) -> Sites:
    """Find the weights and activations to quantize so that the graph runs on integer kernels.

    The inputs of every convolution and matrix product are quantized. From there the search goes back through nodes that
    move values (which keep the quantizer), through ReLU and Clip (which the clamp of the codes does), and through
    additions, products and average pooling (which have integer kernels if both their sides are quantized).

    Args:
        model: A canonical model with BatchNormalization folded.

    Raises:
        FaceterError: NOTHING_TO_QUANTIZE where no convolution or matrix product has float32 weights.
    """
    return _Search(model).sites()


def clamp_of(view: GraphView, node: onnx.NodeProto) -> tuple[float, float] | None:
    """Return the bounds of a Relu or of a Clip with constant bounds; None for any other node."""
    if not is_standard(node) or node.op_type not in CLAMPING:
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


class _Search:
    def __init__(self, model: onnx.ModelProto) -> None:
        self.view = GraphView(model)
        self.shapes = shape_inference.infer(model)
        self.order = {name: index for index, name in enumerate(self.view.inputs)}
        for node in self.view.graph.node:
            for name in node.output:
                self.order[name] = len(self.order)
        self.parent: dict[str, str] = {}
        self.ties: list[tuple[str, str]] = []

    def sites(self) -> Sites:
        weights = self._weights()
        if not weights:
            raise FaceterError(
                ProblemKind.NOTHING_TO_QUANTIZE,
                "The model has no convolution or matrix product with constant float32 weights, "
                "so there is nothing to quantize.",
            )
        entering = self._entering()
        self._need(entering)
        for node in self.view.graph.node:
            if node.op_type == "Conv" and self._float(node.output[0]) and node.input[0] in self.parent:
                self._need_result(node.output[0])
        for name, source in self.ties:
            self.parent[self._root(name)] = self._root(source)
        full = {self._root(name) for name in entering}
        full |= {self._root(name) for name in self.parent if self._is_sum(name)}
        groups: dict[str, list[str]] = {}
        for name in sorted(self.parent, key=self.order.__getitem__):
            groups.setdefault(self._root(name), []).append(name)
        moved = {name for name, _ in self.ties}
        sites = [self._site(members, moved, root in full) for root, members in groups.items()]
        return Sites(tuple(weights), tuple(sites))

    def _site(self, members: list[str], moved: set[str], full: bool) -> ActivationSite:
        tensors = tuple(name for name in members if name not in moved)
        role: Role = "full" if full else "wide"
        if any(name in self.view.inputs for name in tensors):
            role = "input"
        maker = self.view.producer.get(tensors[0])
        followers = tuple(name for name in members if name in moved)
        return ActivationSite(tensors[0], tensors, followers, None if maker is None else node_name(maker), role)

    def _weights(self) -> list[WeightSite]:
        found: dict[str, tuple[list[str], set[int | None]]] = {}
        for node in self.view.graph.node:
            if self._computes(node):
                for name, axis in self._weights_of(node):
                    layers, axes = found.setdefault(name, ([], set()))
                    layers.append(node_name(node))
                    axes.add(axis)
        return [
            WeightSite(name, tuple(layers), next(iter(axes)) if len(axes) == 1 else None)
            for name, (layers, axes) in found.items()
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

    def _computes(self, node: onnx.NodeProto) -> bool:
        """Whether a node is a convolution or matrix product that can be quantized."""
        if not is_standard(node) or node.op_type not in COMPUTING or not self._float(node.output[0]):
            return False
        if node.op_type in ("Conv", "ConvTranspose"):
            return self.view.is_initializer(node.input[1]) and not self.view.is_initializer(node.input[0])
        if node.op_type == "Gemm" and (attribute(node, "alpha", 1.0) != 1.0 or attribute(node, "beta", 1.0) != 1.0):
            return False
        return not all(self.view.is_initializer(name) for name in list(node.input)[:2])

    def _entering(self) -> list[str]:
        """Return the activations that enter a convolution or matrix product."""
        found: dict[str, None] = {}
        for node in self.view.graph.node:
            if self._computes(node):
                for name in list(node.input)[: 1 if node.op_type in ("Conv", "ConvTranspose") else 2]:
                    if not self.view.is_initializer(name):
                        found[name] = None
        return list(found)

    def _need(self, names: Iterable[str]) -> None:
        """Mark tensors as quantized, and what must be so that they come from integer kernels."""
        todo = list(names)
        while todo:
            name = todo.pop()
            if name in self.parent:
                continue
            self.parent[name] = name
            maker = self.view.producer.get(name)
            if maker is None:
                continue
            sources = self.moved_from(maker)
            if sources:
                self.ties += [(name, source) for source in sources]
                todo.extend(sources)
                continue
            if clamp_of(self.view, maker) is not None:
                inner = self.view.producer.get(maker.input[0])
                if inner is None or self.view.only_consumer(maker.input[0]) is None:
                    continue
                maker = inner
            if self._arithmetic(maker):
                todo.extend(name for name in maker.input if name)

    def _need_result(self, name: str) -> None:
        """See that a convolution's result is quantized, or the ReLU or Clip of it if nothing else reads it."""
        reader = self.view.only_consumer(name)
        self._need([reader.output[0] if reader is not None and clamp_of(self.view, reader) is not None else name])

    def moved_from(self, node: onnx.NodeProto) -> list[str]:
        """Return the activations whose values a node moves about without changing them; empty for other nodes."""
        return moved_from(self.view, node) if self._float(node.output[0]) else []

    def _arithmetic(self, node: onnx.NodeProto) -> bool:
        if not is_standard(node) or node.op_type not in _ARITHMETIC:
            return False
        sources = [name for name in node.input if name]
        return all(self._float(name) and self.view.constant(name) is None for name in sources)

    def _is_sum(self, name: str) -> bool:
        """Whether a tensor is the sum of two quantized activations, or the ReLU or Clip of one."""
        maker = self.view.producer.get(name)
        if maker is not None and clamp_of(self.view, maker) is not None:
            maker = self.view.producer.get(maker.input[0])
        return maker is not None and maker.op_type == "Add" and self._arithmetic(maker)

    def _root(self, name: str) -> str:
        while self.parent[name] != name:
            name = self.parent[name]
        return name

    def _float(self, name: str) -> bool:
        info = self.shapes.get(name)
        return info is not None and info.dtype == "float32"


def moved_from(view: GraphView, node: onnx.NodeProto) -> list[str]:
    """Return the activations whose values a node moves about without changing them; empty for other nodes."""
    if not is_standard(node) or node.op_type not in _MOVING:
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
