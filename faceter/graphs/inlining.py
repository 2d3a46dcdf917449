"""Inlining of control flow: an If whose condition is constant, a Loop whose count is constant."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from faceter.graphs.constant_values import constant_values
from faceter.graphs.shapes import value_info
from faceter.graphs.view import (
    Array,
    attribute,
    inputs_used,
    is_standard,
    opset_of,
    rename_tensors,
    replace_nodes,
    subgraphs,
)

CONTROL_FLOW = frozenset({"If", "Loop", "Scan"})
"""Operators with subgraphs."""

_MAX_NODES = 20_000
_MAX_COPIES = _MAX_NODES
"""Limit of the nodes that are copied in all, those of Loops that turn out to be too long included."""
_MAX_ITERATIONS = 1024
_UNSQUEEZE_AXES_ARE_INPUT = 13


def inline_control_flow(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return an equivalent model without each If and Loop whose course is known before the data are.

    An If is replaced by its branch where its condition is a constant, or follows from constants and known sizes. A Loop
    is unrolled where its count and its condition do, to at most 20,000 nodes. Nested ones follow. Tensors of a subgraph
    keep their names; where one is in use already it gets a number.

    Args:
        model: A checked model without local functions; it is not changed.

    Returns:
        The model itself if there is nothing to inline.
    """
    copies = _MAX_COPIES
    while any(node.op_type in ("If", "Loop") and is_standard(node) for node in model.graph.node):
        changed = onnx.ModelProto()
        changed.CopyFrom(model)
        inliner = _Inliner(changed, copies)
        if not inliner.run():
            return model
        if inliner.copies <= 0:
            return changed
        model, copies = changed, inliner.copies
    return model


class _Inliner:
    def __init__(self, model: onnx.ModelProto, copies: int) -> None:
        self.graph = model.graph
        self.copies = copies
        initializers = {tensor.name: tensor for tensor in self.graph.initializer}
        self.values = constant_values(model)
        self.axes_are_input = opset_of(model) >= _UNSQUEEZE_AXES_ARE_INPUT
        self.used = {*initializers, *(value.name for value in self.graph.input)}
        self.used |= {name for node in self.graph.node for name in node.output}
        self.node_names = {node.name for node in self.graph.node}
        self.numbers: dict[str, int] = {}
        self.node_numbers: dict[str, int] = {}
        self.kept: list[onnx.NodeProto] = []
        self.changed = False

    def run(self) -> bool:
        """Inline what can be, in place; return whether anything was."""
        pending = list(reversed(self.graph.node))
        while pending:
            node = pending.pop()
            nodes = self._inlined(node) if is_standard(node) else None
            if nodes is None or len(self.kept) + len(pending) + len(nodes) > _MAX_NODES:
                self.kept.append(node)
                continue
            self.changed = True
            self.values.add(nodes)
            pending.extend(reversed(nodes))
        if self.changed:
            for node in self.kept:
                for inner in subgraphs(node):
                    self._separate(inner)
            replace_nodes(self.graph, self.kept)
        return self.changed

    def _inlined(self, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        """Return the nodes that replace an If or a Loop; None if its course depends on the data."""
        if node.op_type == "If":
            condition = self._truth(node.input[0])
            return None if condition is None else self._branch(node, condition=condition)
        return self._unrolled(node) if node.op_type == "Loop" else None

    def _truth(self, name: str) -> bool | None:
        value = self.values.value(name)
        return bool(value.reshape(-1)[0]) if value is not None and value.size == 1 else None

    def _branch(self, node: onnx.NodeProto, *, condition: bool) -> list[onnx.NodeProto] | None:
        body = attribute(node, "then_branch" if condition else "else_branch")
        if body.sparse_initializer:
            return None
        constants, renamed = self._constants_of(body)
        nodes, outputs = self._copy(body, renamed)
        return [*constants, *nodes, *_identities(outputs, node.output)]

    def _unrolled(self, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        body: onnx.GraphProto = attribute(node, "body")
        count_name, condition_name = (*node.input, "", "")[:2]
        count = self.values.value(count_name) if count_name else None
        running = self._truth(condition_name) if condition_name else True
        if (count_name and count is None) or running is None or body.sparse_initializer:
            return None
        limit = _MAX_ITERATIONS if count is None else int(count.reshape(-1)[0])
        if limit > _MAX_ITERATIONS:
            return None
        carried = list(node.input[2:])
        scanned: list[list[str]] = [[] for _ in range(len(body.output) - 1 - len(carried))]
        nodes, shared = self._constants_of(body)
        self.values.add(nodes)
        index = 0
        while running and index < limit:
            if index >= _MAX_ITERATIONS or len(nodes) > _MAX_NODES or self.copies <= 0:
                return None
            names = [self._constant(np.array(index, np.int64), "iteration"), self._constant(np.array(True), "running")]
            given = dict(zip((value.name for value in body.input), [*names, *carried], strict=True))
            added, outputs = self._copy(body, {**shared, **given})
            self.values.add(added)
            nodes += added
            known = self._truth(outputs[0])
            if known is None:
                return None
            running, index = known, index + 1
            carried = outputs[1 : 1 + len(carried)]
            for collected, name in zip(scanned, outputs[1 + len(carried) :], strict=True):
                collected.append(name)
        if count is None and running:
            return None
        nodes += _identities(carried, node.output[: len(carried)])
        for collected, name, value in zip(
            scanned, node.output[len(carried) :], body.output[1 + len(carried) :], strict=False
        ):
            stacked = self._stacked(collected, name, value) if name else []
            if stacked is None:
                return None
            nodes += stacked
        return nodes

    def _stacked(self, names: list[str], output: str, value: onnx.ValueInfoProto) -> list[onnx.NodeProto] | None:
        """Return nodes that stack one tensor of each iteration along a new first axis."""
        if not names:
            info = value_info(value)
            if info is None or info.static is None or info.dtype == "str":
                return None
            empty = self._constant(np.empty((0, *info.static), np.dtype(info.dtype)), "empty")
            return [helper.make_node("Identity", [empty], [output])]
        nodes, rows = [], []
        for name in names:
            rows.append(self._unique(f"{output}/row"))
            if self.axes_are_input:
                axis = self._constant(np.array([0], np.int64), "axis")
                nodes.append(helper.make_node("Unsqueeze", [name, axis], [rows[-1]]))
            else:
                nodes.append(helper.make_node("Unsqueeze", [name], [rows[-1]], axes=[0]))
        return [*nodes, helper.make_node("Concat", rows, [output], axis=0)]

    def _constants_of(self, body: onnx.GraphProto) -> tuple[list[onnx.NodeProto], dict[str, str]]:
        """Add a subgraph's initializers to the main graph; return its Constant nodes, and the new names of both."""
        renamed = {}
        for tensor in body.initializer:
            renamed[tensor.name] = self._unique(tensor.name)
            self.graph.initializer.append(tensor)
            self.graph.initializer[-1].name = renamed[tensor.name]
            self.values.add((), [self.graph.initializer[-1]])
        constants = []
        for original in body.node:
            if original.op_type == "Constant" and is_standard(original):
                node = onnx.NodeProto()
                node.CopyFrom(original)
                node.output[0] = renamed[node.output[0]] = self._unique(node.output[0])
                self._name(node)
                constants.append(node)
        return constants, renamed

    def _copy(self, body: onnx.GraphProto, given: Mapping[str, str]) -> tuple[list[onnx.NodeProto], list[str]]:
        """Return the nodes of a subgraph, but its constants, with unique names; and the names of its outputs.

        Args:
            given: The tensors that stand for its inputs and constants.
        """
        renamed = dict(given)
        self.copies -= len(body.node) + 1
        nodes = []
        for original in body.node:
            if original.op_type == "Constant" and is_standard(original):
                continue
            renamed.update((name, self._unique(name)) for name in original.output if name)
            node = onnx.NodeProto()
            node.CopyFrom(original)
            rename_tensors(node, renamed)
            self._name(node)
            nodes.append(node)
        return nodes, [renamed.get(value.name, value.name) for value in body.output]

    def _separate(self, body: onnx.GraphProto) -> None:
        """Rename, in place, what a subgraph that stays defines under a name that is in use now."""
        defined = [*body.initializer, *body.input]
        renamed = {item.name: self._unique(item.name) for item in defined if item.name in self.used}
        for node in body.node:
            renamed.update((name, self._unique(name)) for name in node.output if name in self.used)
        for item in defined:
            item.name = renamed.get(item.name, item.name)
        for node in body.node:
            rename_tensors(node, renamed)
            for inner in subgraphs(node):
                self._separate(inner)
        for value in body.output:
            value.name = renamed.get(value.name, value.name)
        del body.value_info[:]

    def _unique(self, name: str) -> str:
        candidate, number = name, self.numbers.get(name, 2)
        while candidate in self.used:
            candidate, number = f"{name}_{number}", number + 1
        self.numbers[name] = number
        self.used.add(candidate)
        return candidate

    def _name(self, node: onnx.NodeProto) -> None:
        """Give a node a name that no other has, if it has one."""
        base, number = node.name, self.node_numbers.get(node.name, 2)
        while node.name and node.name in self.node_names:
            node.name, number = f"{base}_{number}", number + 1
        self.node_numbers[base] = number
        self.node_names.add(node.name)

    def _constant(self, value: Array, name: str) -> str:
        unique = self._unique(f"inlined/{name}")
        self.graph.initializer.append(numpy_helper.from_array(value, unique))
        self.values.add((), [self.graph.initializer[-1]])
        return unique


def _identities(sources: Iterable[str], targets: Iterable[str]) -> list[onnx.NodeProto]:
    pairs = zip(sources, targets, strict=False)
    return [helper.make_node("Identity", [source], [target]) for source, target in pairs if target]


@dataclass(frozen=True)
class Course:
    """What decides an If or a Loop of the main graph that cannot be inlined.

    Attributes:
        node: The node.
        values: Inputs of the graph whose values its condition or count is computed from.
        sizes: Inputs of the graph of which only the size matters to it.
    """

    node: onnx.NodeProto
    values: list[str]
    sizes: list[str]


def courses(model: onnx.ModelProto) -> list[Course]:
    """Return what decides each If and Loop of the main graph, in order."""
    producer = {name: node for node in model.graph.node for name in node.output}
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value.name for value in model.graph.input if value.name not in weights]
    found = []
    for node in model.graph.node:
        if node.op_type not in ("If", "Loop") or not is_standard(node):
            continue
        pending = [(name, False) for name in node.input[: 1 if node.op_type == "If" else 2] if name]
        seen: set[tuple[str, bool]] = set()
        while pending:
            item = pending.pop()
            if item in seen:
                continue
            seen.add(item)
            source = producer.get(item[0])
            if source is not None:
                only_size = item[1] or source.op_type in ("Shape", "Size")
                pending.extend((name, only_size) for name in inputs_used(source))
        values = [name for name in inputs if (name, False) in seen]
        found.append(Course(node, values, [name for name in inputs if (name, True) in seen and name not in values]))
    return found
