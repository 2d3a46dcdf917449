"""Values of small constant tensors, computed one node at a time from the graph around them."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from faceter.graphs.shapes import TensorInfo, infer_shapes
from faceter.graphs.view import Array, attribute, constant_value, is_standard, replace_nodes, subgraphs

MAX_ELEMENTS = 1024
"""Largest tensor that is evaluated: conditions, trip counts, shapes and what they are made of."""

_RANDOM = frozenset(
    {"Bernoulli", "Dropout", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
_MAX_DEPTH = 200
_MAX_ROUNDS = 8
_MAX_NODES = 5000
"""Largest graph whose computed sizes are followed."""
_EXPANDING = frozenset(
    {
        "AffineGrid", "BlackmanWindow", "CenterCropPad", "Col2Im", "ConstantOfShape", "ConvTranspose", "DFT", "Expand",
        "HammingWindow", "HannWindow", "MaxUnpool", "MelWeightMatrix", "OneHot", "Pad", "Range", "Resize", "STFT",
        "Tile", "Upsample",
    }
)  # fmt: skip
"""Operators whose result can be much larger than their inputs."""


def constant_values(model: onnx.ModelProto) -> "ConstantValues":
    """Return the values of a model's small constants.

    Sizes that are computed from such constants are inferred too, which ONNX's own shape inference does for a few
    operators only.

    Args:
        model: A checked model; it is not changed.
    """
    nodes = list(model.graph.node)
    shapes = infer_shapes(model)
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    folded: set[str] = set()
    for _ in range(_MAX_ROUNDS if len(nodes) <= _MAX_NODES else 0):
        values = ConstantValues(nodes, initializers, shapes, model.opset_import, model.ir_version)
        found = {
            name: value
            for node in nodes
            if len(node.output) == 1 and node.output[0] not in folded
            for name in node.output
            if (value := values.value(name)) is not None and node.op_type != "Constant" and value.dtype.kind in "iub"
        }
        if not found:
            break
        folded |= set(found)
        shapes = infer_shapes(_with_constants(model, {name: values.value(name) for name in folded}))
    return ConstantValues(nodes, initializers, shapes, model.opset_import, model.ir_version)


def _with_constants(model: onnx.ModelProto, values: Mapping[str, Array | None]) -> onnx.ModelProto:
    """Return a model in which the nodes that give these tensors are replaced by constants."""
    folded = onnx.ModelProto()
    folded.CopyFrom(model)
    nodes = []
    outputs = {value.name for value in model.graph.output}
    for node in model.graph.node:
        value = values.get(node.output[0]) if node.output and node.output[0] not in outputs else None
        if value is None:
            nodes.append(node)
        else:
            folded.graph.initializer.append(numpy_helper.from_array(value, node.output[0]))
    replace_nodes(folded.graph, nodes)
    return folded


class ConstantValues:
    """Evaluates tensors that do not depend on the data: from constants, and from the known part of shapes.

    Args:
        nodes: The nodes whose outputs can be asked for; more can be added.
        initializers: Constants by name.
        shapes: Inferred types by name; sizes that are unknown stay unknown.
        opset_imports: Those of the model.
        ir_version: That of the model.
    """

    def __init__(
        self,
        nodes: Iterable[onnx.NodeProto],
        initializers: Mapping[str, onnx.TensorProto],
        shapes: Mapping[str, TensorInfo],
        opset_imports: Iterable[onnx.OperatorSetIdProto],
        ir_version: int,
    ) -> None:
        self._producer: dict[str, onnx.NodeProto] = {}
        self._initializers = dict(initializers)
        self._shapes = shapes
        self._opsets = list(opset_imports)
        self._ir_version = ir_version
        self._values: dict[str, Array | None] = {}
        self._unknown: list[str] = []
        self.add(nodes)

    def add(self, nodes: Iterable[onnx.NodeProto], initializers: Iterable[onnx.TensorProto] = ()) -> None:
        """Add nodes and constants, in any order."""
        self._producer.update((name, node) for node in nodes for name in node.output if name)
        self._initializers.update((tensor.name, tensor) for tensor in initializers)
        for name in self._unknown:
            self._values.pop(name, None)
        self._unknown.clear()

    def value(self, name: str) -> Array | None:
        """Return the value of a tensor; None if it depends on the data, is not small or cannot be evaluated."""
        return self._value(name, 0)

    def _value(self, name: str, depth: int) -> Array | None:
        if name not in self._values:
            if depth > _MAX_DEPTH:
                return None
            self._values[name] = self._evaluate(name, depth)
            if self._values[name] is None:
                self._unknown.append(name)
        return self._values[name]

    def _evaluate(self, name: str, depth: int) -> Array | None:
        if name in self._initializers:
            tensor = self._initializers[name]
            return numpy_helper.to_array(tensor) if np.prod(tensor.dims, dtype=float) <= MAX_ELEMENTS else None
        node = self._producer.get(name)
        if node is None or not is_standard(node) or node.op_type in _RANDOM or any(subgraphs(node)):
            return None
        constant = constant_value(node)
        if constant is not None:
            return constant if constant.size <= MAX_ELEMENTS else None
        by_shape = self._by_shape(node, depth)
        if by_shape is not None:
            return by_shape
        arguments: dict[str, Array] = {}
        for item in dict.fromkeys(item for item in node.input if item):
            value = self._value(item, depth + 1)
            if value is None:
                return None
            arguments[item] = value
        return self._run(node, name, arguments)

    def _by_shape(self, node: onnx.NodeProto, depth: int) -> Array | None:
        """Return what a node gives from sizes alone: Shape, Size, or the known sizes that a Gather or Slice takes."""
        if node.op_type == "Shape":
            sizes = self._sizes(node)
            known = None if sizes is None else [size for size in sizes if isinstance(size, int)]
            return None if known is None or len(known) < len(sizes or ()) else np.array(known, np.int64)
        if node.op_type == "Size":
            info = self._shapes.get(node.input[0])
            return None if info is None or info.elements is None else np.array(info.elements, np.int64)
        source = self._producer.get(node.input[0]) if node.input else None
        if node.op_type not in ("Gather", "Slice") or source is None or source.op_type != "Shape":
            return None
        sizes = self._sizes(source)
        if sizes is None:
            return None
        arguments = {name: self._value(name, depth + 1) for name in node.input[1:] if name}
        if any(value is None for value in arguments.values()):
            return None
        numbered = np.arange(len(sizes), dtype=np.int64)
        given = {node.input[0]: numbered, **{name: value for name, value in arguments.items() if value is not None}}
        taken = self._run(node, node.output[0], given)
        if taken is None or any(not isinstance(sizes[index], int) for index in taken.reshape(-1).tolist()):
            return None
        chosen = [sizes[index] for index in taken.reshape(-1).tolist()]
        return np.array(chosen, np.int64).reshape(taken.shape)

    def _sizes(self, node: onnx.NodeProto) -> list[int | str | None] | None:
        """Return the sizes that a Shape node gives, as far as they are known; None if the rank is not."""
        info = self._shapes.get(node.input[0])
        if info is None or info.shape is None:
            return None
        return list(info.shape)[attribute(node, "start", 0) : attribute(node, "end")]

    def _run(self, node: onnx.NodeProto, name: str, arguments: Mapping[str, Array]) -> Array | None:
        if node.op_type in _EXPANDING and not self._stays_small(node, arguments):
            return None
        types = [
            onnx.helper.make_tensor_value_info(
                item, onnx.helper.np_dtype_to_tensor_dtype(value.dtype), list(value.shape)
            )
            for item, value in arguments.items()
        ]
        outputs = [onnx.helper.make_empty_tensor_value_info(item) for item in node.output if item]
        graph = onnx.helper.make_graph([node], "constant", types, outputs)
        model = onnx.helper.make_model(graph, opset_imports=self._opsets, ir_version=self._ir_version)
        try:
            with np.errstate(all="ignore"):
                results: Any = ReferenceEvaluator(model).run([name], dict(arguments))
        except (NotImplementedError, RuntimeError, TypeError, ValueError, LookupError, ArithmeticError):
            return None
        value = results[0]
        if not isinstance(value, np.ndarray | np.generic):
            return None
        return np.asarray(value) if value.size <= MAX_ELEMENTS else None

    def _stays_small(self, node: onnx.NodeProto, arguments: Mapping[str, Array]) -> bool:
        """Whether a node that can enlarge its input gives a small tensor, found without running it."""
        values = [arguments[name] for name in node.input if name]
        if node.op_type == "Range":
            start, limit, delta = (float(value.reshape(())) for value in values[:3])
            return delta != 0 and (limit - start) / delta <= MAX_ELEMENTS
        if node.op_type in ("ConstantOfShape", "Expand"):
            return float(np.prod(values[-1], dtype=float)) * max(1, values[0].size) <= MAX_ELEMENTS
        if node.op_type == "Tile":
            return float(np.prod(values[1], dtype=float)) * values[0].size <= MAX_ELEMENTS
        return False
