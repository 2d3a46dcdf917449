"""Moving Transposes between channels last and channels first out of chains of element-wise operators.

Keras computes channels last, and its exporters put a Transpose before and after each convolution. A bias or scale
between two of them can only be folded into the convolution without the Transposes.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray

from faceter.graphs.view import (
    GraphView,
    attribute,
    inputs_used,
    is_standard,
    replace_nodes,
    set_attribute,
    subgraphs,
)

_ELEMENTWISE = frozenset(
    {
        "Abs", "Cast", "Ceil", "Celu", "Clip", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish",
        "Identity", "LeakyRelu", "Log", "Mish", "Neg", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Softplus",
        "Softsign", "Sqrt", "Swish", "Tanh", "ThresholdedRelu",
    }
)  # fmt: skip
"""Operators on each value of the first input; further inputs are scalars."""
_BROADCASTING = frozenset({"Add", "Div", "Max", "Mean", "Min", "Mul", "Pow", "Sub", "Sum"})
_REDUCTIONS = frozenset({"ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"})

Order = tuple[int, ...]


def move_transposes(model: onnx.ModelProto) -> bool:
    """Compute channels first, in place, what lies between convolutions that a model surrounds by Transposes.

    Each Transpose that moves channels to the end is moved down, past element-wise operators, reductions, paddings and
    concatenations, to the next one that moves them back. The graph is left as it is unless fewer Transposes remain.
    Tensors that remain keep their names.

    Args:
        model: A model whose constants are initializers.

    Returns:
        Whether the graph changed; it may have Identity nodes then.
    """
    before = _transposes(model.graph.node)
    if before < 2:
        return False
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    nodes = _Mover(changed).run()
    if _transposes(nodes) >= before:
        return False
    replace_nodes(changed.graph, nodes)
    model.CopyFrom(changed)
    return True


def _transposes(nodes: Iterable[onnx.NodeProto]) -> int:
    return sum(node.op_type == "Transpose" for node in nodes)


class _Mover:
    """Moves the Transposes of a graph down, in one pass in execution order."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._view = GraphView(model)
        self._moved: dict[str, tuple[str, Order]] = {}
        """By tensor: the tensor of which it is the Transpose, with the order of axes."""
        self._written: set[str] = set()
        """Tensors of these whose Transpose is among the nodes."""
        self._nodes: list[onnx.NodeProto] = []

    def run(self) -> list[onnx.NodeProto]:
        """Return the nodes of the changed graph."""
        for node in self._view.graph.node:
            if not is_standard(node) or list(subgraphs(node)) or (not self._take(node) and not self._pass(node)):
                self._keep(node)
        for name in sorted(self._view.outputs):
            self._write(name)
        return self._nodes

    def _take(self, node: onnx.NodeProto) -> bool:
        """Take a Transpose to be moved; return whether the node is one."""
        order: Order = tuple(attribute(node, "perm", ()))
        if node.op_type != "Transpose" or not order:
            return False
        moved = self._moved.get(node.input[0])
        if moved is None and order != (0, *range(2, len(order)), 1):
            return False
        source, before = moved or (node.input[0], tuple(range(len(order))))
        self._moved[node.output[0]] = (source, tuple(before[axis] for axis in order))
        return True

    def _pass(self, node: onnx.NodeProto) -> bool:
        """Let a node compute on what its inputs are the Transposes of; return whether it can."""
        orders = {self._moved[name][1] for name in node.input if name in self._moved}
        if len(orders) != 1 or len(node.output) != 1:
            return False
        changed = onnx.NodeProto()
        changed.CopyFrom(node)
        for index, name in enumerate(node.input):
            changed.input[index] = self._moved[name][0] if name in self._moved else name
        order = self._order_of_result(changed, node.input, orders.pop())
        if order is None:
            return False
        if order != tuple(sorted(order)):
            changed.output[0] = self._view.unique(f"{node.output[0]}/channels_first")
            self._moved[node.output[0]] = (changed.output[0], order)
        self._nodes.append(changed)
        return True

    def _order_of_result(self, node: onnx.NodeProto, names: Sequence[str], order: Order) -> Order | None:
        """Fit a node's constants and axes, in place, to inputs that are not transposed.

        Args:
            node: The node, reading the tensors that are not transposed.
            names: The tensors that it read.
            order: The order of axes of those that were transposed.

        Returns:
            The order of axes by which its former result is the Transpose of the new one; None if it cannot be changed.
        """
        if node.op_type in _BROADCASTING:
            return (
                order if all(self._fit_operand(node, index, name, order) for index, name in enumerate(names)) else None
            )
        if names[0] not in self._moved:
            return None
        if node.op_type in _ELEMENTWISE:
            return order if all(self._is_scalar(name) for name in names[1:] if name) else None
        if node.op_type in _REDUCTIONS:
            return self._reduce(node, order)
        if node.op_type == "Concat" and all(name in self._moved for name in names):
            set_attribute(node, "axis", order[attribute(node, "axis", 0)])
            return order
        if node.op_type == "Pad" and len(names) < 4:
            pads = self._view.constant(names[1])
            if pads is not None and pads.size == 2 * len(order):
                node.input[1] = self._view.add_initializer(f"{names[1]}/channels_first", _in_source(pads, order))
                return order
        return None

    def _fit_operand(self, node: onnx.NodeProto, index: int, name: str, order: Order) -> bool:
        value = self._view.constant(name)
        if name in self._moved or (value is not None and value.size == 1):
            return value is None or value.ndim <= len(order)
        if value is None or value.ndim > len(order):
            return False
        padded = value.reshape((1,) * (len(order) - value.ndim) + value.shape)
        node.input[index] = self._view.add_initializer(
            f"{name}/channels_first", padded.transpose([order.index(axis) for axis in range(len(order))])
        )
        return True

    def _is_scalar(self, name: str) -> bool:
        value = self._view.constant(name)
        return value is not None and value.size == 1

    def _reduce(self, node: onnx.NodeProto, order: Order) -> Order | None:
        given = len(node.input) > 1 and bool(node.input[1])
        value = self._view.constant(node.input[1]) if given else None
        axes = attribute(node, "axes") if value is None else value.reshape(-1).tolist()
        if not axes or (given and value is None):
            return None
        reduced = sorted(order[axis] for axis in axes)
        if given:
            node.input[1] = self._view.add_initializer(f"{node.input[1]}/channels_first", np.array(reduced, np.int64))
        else:
            set_attribute(node, "axes", reduced)
        if attribute(node, "keepdims", 1):
            return order
        left = [axis for axis in order if axis not in reduced]
        return tuple(sorted(left).index(axis) for axis in left)

    def _keep(self, node: onnx.NodeProto) -> None:
        """Keep a node as it is, on tensors of their own order of axes."""
        kept = onnx.NodeProto()
        kept.CopyFrom(node)
        for name in inputs_used(node):
            source, order = self._moved.get(name, (name, ()))
            if order == tuple(range(len(order))) and not list(subgraphs(node)):
                for index, item in enumerate(node.input):
                    kept.input[index] = source if item == name else kept.input[index]
            else:
                self._write(name)
        self._nodes.append(kept)

    def _write(self, name: str) -> None:
        """Add the Transpose that gives a moved tensor under its own name."""
        if name not in self._moved or name in self._written:
            return
        source, order = self._moved[name]
        if order == tuple(range(len(order))):
            self._nodes.append(onnx.helper.make_node("Identity", [source], [name], f"{name}/identity"))
        else:
            self._nodes.append(onnx.helper.make_node("Transpose", [source], [name], f"{name}/transpose", perm=order))
        self._written.add(name)


def _in_source(pads: NDArray[np.int64], order: Order) -> NDArray[np.int64]:
    """Return pads at the begin and end of each axis for the tensor before a Transpose."""
    ends = pads.reshape(2, -1)
    return ends[:, [order.index(axis) for axis in range(len(order))]].reshape(-1)
