"""Helpers for ONNX nodes, and an index over a graph: producers, consumers and constants of tensors."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

Array = NDArray[Any]

STANDARD_DOMAINS = ("", "ai.onnx")
"""Names of the domain of the standard operator set."""


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """Return the value of a node's attribute, or ``default`` if the node does not have it.

    Strings are decoded; repeated values are lists.
    """
    for item in node.attribute:
        if item.name == name:
            value = onnx.helper.get_attribute_value(item)
            if isinstance(value, bytes):
                return value.decode("utf-8", "replace")
            return list(value) if item.type in (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS) else value
    return default


def set_attribute(node: onnx.NodeProto, name: str, value: Any) -> None:
    """Set a node's attribute."""
    kept = [item for item in node.attribute if item.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, onnx.helper.make_attribute(name, value)])


def is_standard(node: onnx.NodeProto) -> bool:
    """Whether the node belongs to the standard operator set."""
    return node.domain in STANDARD_DOMAINS


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of the standard operator set, 0 if the model has none."""
    versions = [item.version for item in model.opset_import if item.domain in STANDARD_DOMAINS]
    return max(versions, default=0)


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """Yield the subgraphs of a node (branches of an If, body of a Loop)."""
    for item in node.attribute:
        if item.type == onnx.AttributeProto.GRAPH:
            yield item.g
        elif item.type == onnx.AttributeProto.GRAPHS:
            yield from item.graphs


def all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yield every node of a graph and its subgraphs."""
    for node in graph.node:
        yield node
        for inner in subgraphs(node):
            yield from all_nodes(inner)


def inputs_used(node: onnx.NodeProto) -> Iterator[str]:
    """Yield the tensors that a node reads, including those that its subgraphs capture."""
    yield from (name for name in node.input if name)
    for inner in subgraphs(node):
        defined = {value.name for value in inner.input} | {value.name for value in inner.initializer}
        defined |= {output for item in inner.node for output in item.output}
        for item in inner.node:
            yield from (name for name in inputs_used(item) if name not in defined)
        yield from (value.name for value in inner.output if value.name not in defined)


def rename_tensors(node: onnx.NodeProto, renamed: Mapping[str, str]) -> None:
    """Rename, in place, the tensors that a node reads and gives, also those that its subgraphs capture."""
    for names in (node.input, node.output):
        for index, name in enumerate(names):
            names[index] = renamed.get(name, name)
    for inner in subgraphs(node):
        own = {value.name for value in inner.input} | {tensor.name for tensor in inner.initializer}
        own |= {name for item in inner.node for name in item.output}
        captured = {name: new for name, new in renamed.items() if name not in own}
        for item in inner.node:
            rename_tensors(item, captured)
        for value in inner.output:
            value.name = captured.get(value.name, value.name)


def node_name(node: onnx.NodeProto) -> str:
    """Return the node's name, or ``operator(first output)`` if it has none."""
    if node.name:
        return node.name
    output = next((name for name in node.output if name), "")
    return f"{node.op_type}({output})"


def unique_names(graph: onnx.GraphProto | onnx.FunctionProto) -> list[str]:
    """Return a unique name for every node: `node_name`, with a number for duplicates."""
    names: list[str] = []
    taken: set[str] = set()
    for node in graph.node:
        base = candidate = node_name(node)
        number = 2
        while candidate in taken:
            candidate, number = f"{base}_{number}", number + 1
        taken.add(candidate)
        names.append(candidate)
    return names


class GraphView:
    """An index over a model's main graph. It is not updated when nodes change: make a new one.

    Attributes:
        model: The model; new initializers are added to it.
        graph: Its main graph.
        producer: The node that computes a tensor, by the tensor's name.
        consumers: The nodes that read a tensor, by the tensor's name, in order.
        outputs: Names of the graph's outputs.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.graph = model.graph
        self.producer: dict[str, onnx.NodeProto] = {}
        self.consumers: dict[str, list[onnx.NodeProto]] = {}
        self._initializers = {tensor.name: tensor for tensor in self.graph.initializer}
        for node in self.graph.node:
            for name in node.output:
                if name:
                    self.producer[name] = node
            for name in dict.fromkeys(inputs_used(node)):
                self.consumers.setdefault(name, []).append(node)
        self.outputs = {value.name for value in self.graph.output}
        self.inputs = [value.name for value in self.graph.input if value.name not in self._initializers]
        self._names = {*self.producer, *self._initializers, *self.consumers, *self.outputs, *self.inputs}
        self._shared: dict[tuple[str, bytes], str] = {}

    def is_initializer(self, name: str) -> bool:
        """Whether a tensor is an initializer of the main graph."""
        return name in self._initializers

    def tensor(self, name: str) -> onnx.TensorProto:
        """Return an initializer; KeyError if there is none of that name."""
        tensor: onnx.TensorProto = self._initializers[name]
        return tensor

    def constant(self, name: str) -> Array | None:
        """Return the value of an initializer or Constant node, None for any other tensor."""
        if name in self._initializers:
            return numpy_helper.to_array(self._initializers[name])
        node = self.producer.get(name)
        return None if node is None else constant_value(node)

    def add_initializer(self, name: str, value: Array) -> str:
        """Add an initializer under a `unique` name; return the name."""
        name = self.unique(name)
        self.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name))
        self._initializers[name] = self.graph.initializer[-1]
        return name

    def shared_initializer(self, name: str, value: Array) -> str:
        """Add an initializer, or return the one that this method added for an equal value."""
        key = (f"{value.dtype}{value.shape}", value.tobytes())
        if key not in self._shared:
            self._shared[key] = self.add_initializer(name, value)
        return self._shared[key]

    def replace_initializer(self, name: str, value: Array) -> None:
        """Set the value of an initializer."""
        self._initializers[name].CopyFrom(
            numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name)
        )

    def unique(self, name: str) -> str:
        """Reserve and return ``name``, or ``name_2``, ``name_3``, … if it is in use."""
        candidate, number = name, 2
        while candidate in self._names:
            candidate, number = f"{name}_{number}", number + 1
        self._names.add(candidate)
        return candidate

    def only_consumer(self, name: str) -> onnx.NodeProto | None:
        """Return the only node that reads a tensor; None if it has another number of readers or is a graph output."""
        readers = self.consumers.get(name, [])
        if name in self.outputs or len(readers) != 1 or list(inputs_used(readers[0])).count(name) != 1:
            return None
        return readers[0]


def constant_value(node: onnx.NodeProto) -> Array | None:
    """Return the value of a standard Constant node; None for another node, sparse values or strings."""
    if node.op_type != "Constant" or not is_standard(node) or not node.attribute:
        return None
    item = node.attribute[0]
    value = onnx.helper.get_attribute_value(item)
    match item.name:
        case "value":
            return numpy_helper.to_array(value)
        case "value_float":
            return np.array(value, np.float32)
        case "value_int":
            return np.array(value, np.int64)
        case "value_floats":
            return np.array(list(value), np.float32)
        case "value_ints":
            return np.array(list(value), np.int64)
        case _:
            return None


def remove_unused(graph: onnx.GraphProto) -> None:
    """Remove, in place, unused nodes and initializers, and the value_info of removed tensors."""
    needed = {value.name for value in graph.output}
    kept: list[onnx.NodeProto] = []
    for node in reversed(graph.node):
        if any(name in needed for name in node.output):
            kept.append(node)
            needed.update(inputs_used(node))
    kept.reverse()
    replace_nodes(graph, kept)
    computed = {name for node in graph.node for name in node.output}
    _assign(graph.initializer, (item for item in graph.initializer if item.name in needed))
    _assign(graph.value_info, (item for item in graph.value_info if item.name in computed))
    initializers = {item.name for item in graph.initializer}
    _assign(graph.quantization_annotation, ())
    _assign(graph.input, (item for item in graph.input if item.name not in initializers))


def replace_nodes(graph: onnx.GraphProto, nodes: Iterable[onnx.NodeProto]) -> None:
    """Replace, in place, the nodes of a graph."""
    _assign(graph.node, nodes)


def _assign(field: Any, items: Iterable[Any]) -> None:
    copies = []
    for item in items:
        copy = type(item)()
        copy.CopyFrom(item)
        copies.append(copy)
    del field[:]
    field.extend(copies)
