"""Einsum as a matrix product, where it is one: integer kernels exist for MatMul alone."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from faceter.graphs.shapes import TensorInfo
from faceter.graphs.view import GraphView, attribute, is_standard, node_name


@dataclass(frozen=True)
class _Terms:
    """The labels of an equation of two operands."""

    first: str
    second: str
    result: str

    @property
    def batch(self) -> str:
        """Labels that both operands and the result have."""
        return "".join(label for label in self.result if label in self.first and label in self.second)

    @property
    def summed(self) -> str:
        """Labels that both operands have and the result has not."""
        return "".join(label for label in self.first if label in self.second and label not in self.result)

    @property
    def kept(self) -> tuple[str, str]:
        """Labels of the result that only the first, and only the second operand has."""
        first = "".join(label for label in self.result if label not in self.second)
        return first, "".join(label for label in self.result if label not in self.first)


def einsum_to_matmul(
    view: GraphView, shapes: dict[str, TensorInfo], node: onnx.NodeProto
) -> list[onnx.NodeProto] | None:
    """Replace an Einsum of two operands by Transpose, Reshape and MatMul.

    A constant operand may have any axes that are summed or kept, but none that the other shares with the result. Two
    activations need one axis to sum, one of each to keep, and any number in common.
    """
    if node.op_type != "Einsum" or not is_standard(node) or len(node.input) != 2:
        return None
    terms = _terms(str(attribute(node, "equation", "")))
    if terms is None:
        return None
    constant = [view.is_initializer(name) for name in node.input]
    if all(constant):
        return None
    if constant[0]:
        return _with_weight(view, node, node.input[1], node.input[0], _Terms(terms.second, terms.first, terms.result))
    if constant[1]:
        return _with_weight(view, node, node.input[0], node.input[1], terms)
    return _of_activations(view, node, terms)


def _terms(equation: str) -> _Terms | None:
    """Return the labels of an equation of two operands whose every axis is summed with the other's or kept."""
    operands, arrow, result = equation.replace(" ", "").partition("->")
    first, comma, second = operands.partition(",")
    if not comma or "." in equation or "," in second:
        return None
    labels = first + second
    if not arrow:
        result = "".join(sorted(label for label in set(labels) if labels.count(label) == 1))
    if any(len(set(part)) < len(part) for part in (first, second, result)):
        return None
    alone = set(first) ^ set(second)
    return _Terms(first, second, result) if alone <= set(result) <= set(labels) else None


def _with_weight(
    view: GraphView, node: onnx.NodeProto, x: str, weight: str, terms: _Terms
) -> list[onnx.NodeProto] | None:
    value = view.constant(weight)
    kept, outputs = terms.kept
    if terms.batch or not terms.summed or not outputs or value is None or value.ndim != len(terms.second):
        return None
    sizes = dict(zip(terms.second, value.shape, strict=True))
    order = [terms.second.index(label) for label in terms.summed + outputs]
    columns = int(np.prod([sizes[label] for label in outputs]))
    matrix = view.add_initializer(f"{weight}/matrix", value.transpose(order).reshape(-1, columns))
    build = _Builder(view, node)
    x = build.transpose(x, terms.first, kept + terms.summed)
    if len(terms.summed) > 1:
        x = build.reshape(x, [0] * len(kept) + [-1])
    y = build.add("MatMul", x, matrix)
    if len(outputs) > 1:
        y = build.reshape(y, [0] * len(kept) + [sizes[label] for label in outputs])
    build.transpose(y, kept + outputs, terms.result)
    return build.finish()


def _of_activations(view: GraphView, node: onnx.NodeProto, terms: _Terms) -> list[onnx.NodeProto] | None:
    rows, columns = terms.kept
    if len(terms.summed) != 1 or len(rows) != 1 or len(columns) != 1:
        return None
    build = _Builder(view, node)
    left = build.transpose(node.input[0], terms.first, terms.batch + rows + terms.summed)
    right = build.transpose(node.input[1], terms.second, terms.batch + terms.summed + columns)
    build.transpose(build.add("MatMul", left, right), terms.batch + rows + columns, terms.result)
    return build.finish()


class _Builder:
    """Adds nodes that replace an Einsum; the last one gives its output."""

    def __init__(self, view: GraphView, node: onnx.NodeProto) -> None:
        self.view = view
        self.node = node
        self.nodes: list[onnx.NodeProto] = []

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        output = self.view.unique(f"{self.node.output[0]}/{operator.lower()}")
        name = f"{node_name(self.node)}/{operator.lower()}{len(self.nodes)}"
        self.nodes.append(onnx.helper.make_node(operator, list(inputs), [output], name, **attributes))
        return output

    def transpose(self, x: str, labels: str, wanted: str) -> str:
        if labels == wanted:
            return x
        return self.add("Transpose", x, perm=[labels.index(label) for label in wanted])

    def reshape(self, x: str, shape: list[int]) -> str:
        return self.add("Reshape", x, self.view.shared_initializer("einsum/shape", np.array(shape, np.int64)))

    def finish(self) -> list[onnx.NodeProto]:
        self.nodes[-1].output[0] = self.node.output[0]
        return self.nodes
