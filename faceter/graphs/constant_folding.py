"""Constant folding, within a memory budget."""

from collections.abc import Collection, Iterable, Mapping
from math import prod

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from faceter.graphs.shapes import TensorInfo, infer_shapes
from faceter.graphs.view import Array, GraphView, attribute, constant_value, is_standard, replace_nodes, subgraphs

_MAX_ADDED_BYTES = 64 * 1024 * 1024
_MAX_GROWTH = 3
_SMALL_ELEMENTS = 1024
_NEVER_FOLDED = frozenset(
    {
        "Bernoulli", "Dropout", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
        "DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear",
    }
)  # fmt: skip
"""Random operators, and those that describe a quantization."""
_BOUNDED_BY_INPUT = frozenset({"Compress", "NonZero", "Unique"})
"""Operators with a data-dependent output size, at most the size of the input times its rank."""
_UNKNOWN_SIZE = np.iinfo(np.int64).min


def constants_to_initializers(model: onnx.ModelProto) -> None:
    """Replace, in place, every Constant node of the main graph by an initializer."""
    kept = []
    for node in model.graph.node:
        value = constant_value(node)
        if value is None:
            kept.append(node)
        else:
            model.graph.initializer.append(_tensor(value, node.output[0]))
    replace_nodes(model.graph, kept)


def fold_constants(model: onnx.ModelProto) -> None:
    """Evaluate, in place, every standard node with only constant inputs, by ONNX's reference implementation.

    Results become initializers under the names of the outputs. Shape and Size of a tensor of known shape count as
    constants, as do a Gather or Slice of known sizes out of a Shape, and CastLike of a constant to a known type. Random
    operators, QuantizeLinear, DequantizeLinear, control flow and what the reference implementation does not support are
    not folded. All results together take at most 64 MiB plus three times the model's own constants; output sizes are
    inferred before a node is evaluated, so that a small file cannot allocate more.

    Args:
        model: A model whose constants are initializers, of opset 13 or later.
    """
    _Folder(model).run()


class _Folder:
    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.known = {tensor.name: tensor for tensor in model.graph.initializer}
        self.shapes = infer_shapes(model)
        self.partial_shapes: dict[str, onnx.TensorProto] = {}
        weights = sum(_bytes(tensor.data_type, tensor.dims) for tensor in self.known.values())
        self.budget = _MAX_ADDED_BYTES + _MAX_GROWTH * weights

    def run(self) -> None:
        graph = self.model.graph
        kept = []
        for node in graph.node:
            values = self._values(node)
            if values is None:
                kept.append(node)
                continue
            for name, value in values.items():
                self.budget -= value.nbytes
                graph.initializer.append(_tensor(value, name))
                self.known[name] = graph.initializer[-1]
        replace_nodes(graph, kept)
        self._separate_outputs()

    def _separate_outputs(self) -> None:
        """Insert an Identity before each graph output that is an initializer."""
        graph = self.model.graph
        outputs = {value.name for value in graph.output}
        for tensor in graph.initializer:
            if tensor.name not in outputs:
                continue
            name, constant = tensor.name, GraphView(self.model).unique(f"{tensor.name}/constant")
            tensor.name = constant
            for node in graph.node:
                for index, item in enumerate(node.input):
                    node.input[index] = constant if item == name else item
            graph.node.append(onnx.helper.make_node("Identity", [constant], [name]))

    def _values(self, node: onnx.NodeProto) -> Mapping[str, Array] | None:
        """Return the outputs of a node by name; None if it cannot be folded."""
        if not is_standard(node) or node.op_type in _NEVER_FOLDED or list(subgraphs(node)):
            return None
        if node.op_type in ("Shape", "Size"):
            return self._shape(node)
        node = self._as_cast(node)
        names = list(dict.fromkeys(name for name in node.input if name))
        selects = node.op_type in ("Gather", "Slice") and node.input[0] in self.partial_shapes
        known = {**self.known, node.input[0]: self.partial_shapes[node.input[0]]} if selects else self.known
        if not all(name in known for name in names):
            return None
        expected = self._expected(node, names, known)
        if expected is None:
            return None
        single = self._single_node_model(node, names, (), known)
        inputs = {name: numpy_helper.to_array(known[name]) for name in names}
        try:
            with np.errstate(all="ignore"):
                results = ReferenceEvaluator(single).run(None, inputs)
        except (NotImplementedError, RuntimeError, TypeError, ValueError, LookupError, ArithmeticError):
            return None
        values = dict(zip((name for name in node.output if name), results, strict=True))
        if selects and any(np.any(value == _UNKNOWN_SIZE) for value in values.values()):
            return None
        expected_types = all(_has_type(value, expected[name]) for name, value in values.items())
        return {name: np.asarray(value) for name, value in values.items()} if expected_types else None

    def _shape(self, node: onnx.NodeProto) -> Mapping[str, Array] | None:
        info = self.shapes.get(node.input[0])
        if info is None or info.shape is None:
            return None
        if node.op_type == "Size":
            return None if info.static is None else {node.output[0]: np.array(prod(info.static), np.int64)}
        sizes = info.shape[slice(attribute(node, "start", 0), attribute(node, "end"))]
        value = np.array([size if isinstance(size, int) else _UNKNOWN_SIZE for size in sizes], np.int64)
        if np.any(value == _UNKNOWN_SIZE):
            self.partial_shapes[node.output[0]] = _tensor(value, node.output[0])
            return None
        return {node.output[0]: value}

    def _as_cast(self, node: onnx.NodeProto) -> onnx.NodeProto:
        """Return CastLike as a Cast where the target type is known; any other node unchanged."""
        info = self.shapes.get(node.input[1]) if node.op_type == "CastLike" else None
        if info is None or info.dtype == "str":
            return node
        to = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(info.dtype))
        return onnx.helper.make_node("Cast", [node.input[0]], list(node.output), to=to)

    def _expected(
        self, node: onnx.NodeProto, names: list[str], known: Mapping[str, TensorProto]
    ) -> dict[str, TensorInfo] | None:
        """Return type and shape of each output; None if they are unknown or exceed the budget."""
        small = [name for name in names if prod(known[name].dims) <= _SMALL_ELEMENTS]
        expected = infer_shapes(self._single_node_model(node, names, small, known))
        size = 0
        for name in node.output:
            info = expected.get(name) or self.shapes.get(name)
            if not name:
                continue
            if info is None or info.dtype == "str":
                return None
            expected[name] = info
            elements = info.elements
            if elements is None and node.op_type in _BOUNDED_BY_INPUT:
                dims = known[names[0]].dims
                elements = max(1, len(dims)) * prod(dims)
            if elements is None:
                return None
            size += elements * np.dtype(info.dtype).itemsize
        return expected if size <= self.budget else None

    def _single_node_model(
        self, node: onnx.NodeProto, names: list[str], constant: Collection[str], known: Mapping[str, TensorProto]
    ) -> onnx.ModelProto:
        """Return a model of one node, with the tensors in ``constant`` as initializers and the others as inputs."""
        inputs = [
            onnx.helper.make_tensor_value_info(name, known[name].data_type, list(known[name].dims))
            for name in names
            if name not in constant
        ]
        outputs = [onnx.helper.make_empty_tensor_value_info(name) for name in node.output if name]
        graph = onnx.helper.make_graph([node], "single_node", inputs, outputs, [known[name] for name in constant])
        opsets = list(self.model.opset_import)
        return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=self.model.ir_version)


def _has_type(value: object, expected: TensorInfo) -> bool:
    """Whether a value has the inferred type and shape."""
    if not isinstance(value, np.ndarray | np.generic) or value.dtype.name != expected.dtype:
        return False
    return expected.static is None or value.shape == expected.static


def _bytes(elem_type: int, dims: Iterable[int]) -> int:
    if elem_type == TensorProto.STRING:
        return 0
    return prod(dims) * np.dtype(onnx.helper.tensor_dtype_to_np_dtype(elem_type)).itemsize


def _tensor(value: Array, name: str) -> TensorProto:
    return numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name)
