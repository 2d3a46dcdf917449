"""Sizes that follow the input, written as nodes of the graph that compute them from sizes of earlier tensors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx

from faceter.graphs.size_probes import PROBES, ProbedTensor, Sizes, follows
from faceter.graphs.view import Array, GraphView


@dataclass(frozen=True)
class SizeFormula:
    """A size: the product of sizes of tensors, times a number, divided by another without remainder.

    Attributes:
        factors: Tensors and axes.
        multiplier: Number to multiply by.
        divisor: Number to divide by.
    """

    factors: tuple[tuple[str, int], ...] = ()
    multiplier: int = 1
    divisor: int = 1


@dataclass
class OpeningContext:
    """What is known of a graph while its nodes are rewritten in order.

    Attributes:
        view: The graph; receives new initializers.
        tensors: Every tensor so far at all probes.
        counts: Numbers of positions that follow the input, by the tensors that are sums or means over them.
    """

    view: GraphView
    tensors: dict[str, ProbedTensor]
    counts: dict[str, SizeFormula] = field(default_factory=dict)
    _sources: dict[Sizes, tuple[str, int]] = field(default_factory=dict)
    _order: list[str] = field(default_factory=list)

    def add(self, tensors: Mapping[str, ProbedTensor]) -> None:
        """Add tensors that an input or a node gives."""
        self.tensors.update(tensors)
        for name, tensor in tensors.items():
            followed = [(axis, sizes) for axis, sizes in enumerate(tensor.sizes) if follows(sizes)]
            for axis, sizes in followed:
                self._sources.setdefault(sizes, (name, axis))
            if followed:
                self._order.append(name)

    def constant(self, name: str, value: Array) -> str:
        """Add an initializer; return its name."""
        name = self.view.add_initializer(name, value)
        kind = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
        self.tensors[name] = ProbedTensor(kind, (value.shape,) * PROBES, (value,) * PROBES)
        return name

    def candidates(self, own: int) -> list[Sizes]:
        """Return the sizes that follow the input and have this value at the model's own size, first ones first."""
        return [sizes for sizes in self._sources if sizes[0] == own]

    def formula(self, sizes: Sizes) -> SizeFormula | None:
        """Return the formula of a size that some tensor has; None if none has it."""
        if not follows(sizes):
            return SizeFormula(multiplier=sizes[0])
        source = self._sources.get(sizes)
        return None if source is None else SizeFormula((source,))

    def like(self, own: Sequence[int], first: int = 0) -> str | None:
        """Return the latest tensor that follows the input and has these own sizes from axis ``first`` on."""
        for name in reversed(self._order):
            tensor = self.tensors[name]
            if tensor.own[first:] == tuple(own) and any(follows(sizes) for sizes in tensor.sizes[first:]):
                return name
        return None

    def shape_nodes(self, base: str, formulas: Sequence[SizeFormula]) -> tuple[list[onnx.NodeProto], str]:
        """Return nodes that compute an int64 vector of sizes, and its name.

        Args:
            base: Prefix of the names of new tensors.
            formulas: A formula for each element.
        """
        nodes: list[onnx.NodeProto] = []

        def node(operator: str, inputs: list[str], axis: int | None = None) -> str:
            name = self.view.unique(f"{base}/size")
            nodes.append(onnx.helper.make_node(operator, inputs, [name], name, axis=axis))
            return name

        parts = []
        for formula in formulas:
            part = ""
            for tensor, axis in formula.factors:
                index = self.constant(f"{base}/axis", np.array([axis], np.int64))
                size = node("Gather", [node("Shape", [tensor]), index], axis=0)
                part = node("Mul", [part, size]) if part else size
            if not part or formula.multiplier != 1:
                number = self.constant(f"{base}/number", np.array([formula.multiplier], np.int64))
                part = node("Mul", [part, number]) if part else number
            if formula.divisor != 1:
                number = self.constant(f"{base}/number", np.array([formula.divisor], np.int64))
                part = node("Div", [part, number])
            parts.append(part)
        return nodes, node("Concat", parts, axis=0)
