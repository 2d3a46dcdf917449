"""What the rules that replace nodes of other domains have in common."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper

from faceter.graphs.shapes import TensorInfo, infer_shapes
from faceter.graphs.view import Array, GraphView, attribute, node_name


class LoweringContext:
    """The model whose nodes are replaced.

    Args:
        model: New constants are added to it.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.view = GraphView(model)
        self._shapes = infer_shapes(model)

    def info(self, name: str) -> TensorInfo | None:
        """Return the inferred type of a tensor."""
        return self._shapes.get(name)

    def constant(self, name: str, value: Array) -> str:
        """Add a constant; return its name."""
        return self.view.shared_initializer(name, value)


class Replacement:
    """Standard nodes that replace one node, built one after the other."""

    def __init__(self, context: LoweringContext, node: onnx.NodeProto) -> None:
        self.context = context
        self.node = node
        self.nodes: list[onnx.NodeProto] = []

    def input(self, index: int) -> str:
        """Return the name of an input, empty if it is absent."""
        return self.node.input[index] if index < len(self.node.input) else ""

    def attributes(self, *names: str) -> dict[str, Any]:
        """Return those of the node's attributes that it has."""
        found = {name: attribute(self.node, name) for name in names}
        return {name: value for name, value in found.items() if value is not None}

    def add(self, op_type: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Add a node; return its output, a new tensor if no name is given."""
        result = output or self.context.view.unique(f"{self.node.output[0]}/{op_type}")
        name = f"{node_name(self.node)}/{op_type}_{len(self.nodes)}" if self.nodes else self.node.name
        self.nodes.append(helper.make_node(op_type, list(inputs), [result], name, **attributes))
        return result

    def constant(self, value: Array | float | Sequence[float], dtype: type[np.generic] = np.float32) -> str:
        """Add a constant; return its name."""
        return self.context.constant(f"{self.node.output[0]}/constant", np.asarray(value, dtype))

    def finish(self, last: str, output: int = 0) -> list[onnx.NodeProto]:
        """Give the last tensor the name of an output of the node; return all nodes."""
        for item in self.nodes:
            for names in (item.input, item.output):
                for index, name in enumerate(names):
                    names[index] = self.node.output[output] if name == last else name
        return self.nodes


Rule = Callable[[LoweringContext, onnx.NodeProto], list[onnx.NodeProto] | None]
"""``(context, node) -> nodes that replace it``, or None if there are none that compute the same."""
