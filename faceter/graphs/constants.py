"""Computing ahead of time what depends on constants and known shapes alone."""

from collections.abc import Collection, Iterable, Mapping
from math import prod

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from faceter.graphs import shapes as shape_inference
from faceter.graphs.shapes import TensorInfo
from faceter.graphs.view import Array, GraphView, attribute, constant_value, is_standard, replace_nodes, subgraphs

_MOST_ADDED_BYTES = 64 * 1024 * 1024
_TIMES_THE_WEIGHTS = 3
_SMALL_ELEMENTS = 1024
_LEFT_ALONE = frozenset(
    {
        "Bernoulli", "Dropout", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
        "DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear",
    }
)  # fmt: skip
"""Random operators, and those that say how something is quantized."""
_SOME_OF_THE_INPUT = frozenset({"Compress", "NonZero", "Unique"})
"""Operators whose results have a size that depends on values, but at most the input's times its rank."""


def constants_to_initializers(model: onnx.ModelProto) -> None:
    """Make, in place, every Constant node of the main graph an initializer."""
    kept = []
    for node in model.graph.node:
        value = constant_value(node)
        if value is None:
            kept.append(node)
        else:
            model.graph.initializer.append(_tensor(value, node.output[0]))
    replace_nodes(model.graph, kept)


def fold_constants(model: onnx.ModelProto) -> None:
    """Compute, in place, every standard node that reads constants alone, by ONNX's reference implementation.

    Results are initializers under the names they had. Shape and Size of a tensor of known shape count as constants, as
    does CastLike of a constant to a known type. Random and quantizing operators and control flow are left to run time,
    as is what the reference implementation cannot do. All results together take at most 64 MiB and three times the
    model's own constants; what goes beyond is left too.

    Args:
        model: A model whose constants are initializers, of opset 13 or later.
    """
    _Folding(model).run()


class _Folding:
    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.known = {tensor.name: tensor for tensor in model.graph.initializer}
        self.found = shape_inference.infer(model)
        weights = sum(_bytes(tensor.data_type, tensor.dims) for tensor in self.known.values())
        self.budget = _MOST_ADDED_BYTES + _TIMES_THE_WEIGHTS * weights

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
        self._hand_out()

    def _hand_out(self) -> None:
        """Put an Identity between a constant and the graph's output that it is."""
        graph = self.model.graph
        outputs = {value.name for value in graph.output}
        for tensor in graph.initializer:
            if tensor.name not in outputs:
                continue
            name, held = tensor.name, GraphView(self.model).unique(f"{tensor.name}/constant")
            tensor.name = held
            for node in graph.node:
                for index, item in enumerate(node.input):
                    node.input[index] = held if item == name else item
            graph.node.append(onnx.helper.make_node("Identity", [held], [name]))

    def _values(self, node: onnx.NodeProto) -> Mapping[str, Array] | None:
        """Return what a node gives, by the outputs' names; None where that is to be left to run time."""
        if not is_standard(node) or node.op_type in _LEFT_ALONE or list(subgraphs(node)):
            return None
        if node.op_type in ("Shape", "Size"):
            return self._shape(node)
        node = self._plain_cast(node)
        names = list(dict.fromkeys(name for name in node.input if name))
        if not all(name in self.known for name in names):
            return None
        expected = self._expected(node, names)
        if expected is None:
            return None
        alone = self._alone(node, names, ())
        inputs = {name: numpy_helper.to_array(self.known[name]) for name in names}
        try:
            with np.errstate(all="ignore"):
                made = ReferenceEvaluator(alone).run(None, inputs)
        except (NotImplementedError, RuntimeError, TypeError, ValueError, LookupError, ArithmeticError):
            return None
        values = dict(zip((name for name in node.output if name), made, strict=True))
        right = all(_is(value, expected[name]) for name, value in values.items())
        return {name: np.asarray(value) for name, value in values.items()} if right else None

    def _shape(self, node: onnx.NodeProto) -> Mapping[str, Array] | None:
        info = self.found.get(node.input[0])
        if info is None or info.static is None:
            return None
        if node.op_type == "Size":
            return {node.output[0]: np.array(prod(info.static), np.int64)}
        part = slice(attribute(node, "start", 0), attribute(node, "end"))
        return {node.output[0]: np.array(info.static[part], np.int64)}

    def _plain_cast(self, node: onnx.NodeProto) -> onnx.NodeProto:
        """Return CastLike as the Cast it is where the other tensor's type is known, any other node as it is."""
        info = self.found.get(node.input[1]) if node.op_type == "CastLike" else None
        if info is None or info.dtype == "str":
            return node
        to = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(info.dtype))
        return onnx.helper.make_node("Cast", [node.input[0]], list(node.output), to=to)

    def _expected(self, node: onnx.NodeProto, names: list[str]) -> dict[str, TensorInfo] | None:
        """Return type and shape of what a node gives; None if they are unknown or too large for the budget."""
        small = [name for name in names if prod(self.known[name].dims) <= _SMALL_ELEMENTS]
        expected = shape_inference.infer(self._alone(node, names, small))
        size = 0
        for name in node.output:
            info = expected.get(name) or self.found.get(name)
            if not name:
                continue
            if info is None or info.dtype == "str":
                return None
            expected[name] = info
            elements = info.elements
            if elements is None and node.op_type in _SOME_OF_THE_INPUT:
                dims = self.known[names[0]].dims
                elements = max(1, len(dims)) * prod(dims)
            if elements is None:
                return None
            size += elements * np.dtype(info.dtype).itemsize
        return expected if size <= self.budget else None

    def _alone(self, node: onnx.NodeProto, names: list[str], constant: Collection[str]) -> onnx.ModelProto:
        """Return a model of one node, with the tensors in ``constant`` as constants and the others as inputs."""
        inputs = [
            onnx.helper.make_tensor_value_info(name, self.known[name].data_type, list(self.known[name].dims))
            for name in names
            if name not in constant
        ]
        outputs = [onnx.helper.make_empty_tensor_value_info(name) for name in node.output if name]
        graph = onnx.helper.make_graph([node], "alone", inputs, outputs, [self.known[name] for name in constant])
        opsets = list(self.model.opset_import)
        return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=self.model.ir_version)


def _is(value: object, expected: TensorInfo) -> bool:
    """Whether a value is of the type and shape that were expected of it."""
    if not isinstance(value, np.ndarray | np.generic) or value.dtype.name != expected.dtype:
        return False
    return expected.static is None or value.shape == expected.static


def _bytes(elem_type: int, dims: Iterable[int]) -> int:
    if elem_type == TensorProto.STRING:
        return 0
    return prod(dims) * np.dtype(onnx.helper.tensor_dtype_to_np_dtype(elem_type)).itemsize


def _tensor(value: Array, name: str) -> TensorProto:
    return numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name)
