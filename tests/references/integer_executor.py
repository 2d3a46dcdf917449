"""Integer-only inference of a quantized graph: the slow reference for what integer kernels must compute.

Convolutions and matrix products accumulate in int32. A 32-bit fixed-point multiplier and a rounding shift turn the sums
into the codes of the next layer.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from faceter.graphs.packing import unpack_weights
from faceter.graphs.view import Array, GraphView, attribute, node_name
from tests.references.fixed_point import requantize
from tests.references.windows import windows


@dataclass(frozen=True)
class Scaled:
    """Real values as scaled integers: Σ S_i · v_i.

    Attributes:
        terms: Integers v_i (int32) and scales S_i (float64 that broadcast to them); several for a sum.
    """

    terms: tuple[tuple[Array, Array], ...]

    @property
    def single_term(self) -> tuple[Array, Array]:
        """Integers and scale of a value with one term."""
        if len(self.terms) != 1:
            raise ValueError("a sum must be quantized before it is used")
        return self.terms[0]

    def to_float(self) -> Array:
        """Return the real values, float32."""
        total = sum(values * scale for values, scale in self.terms)
        return np.asarray(total, np.float32)


Value = Array | Scaled


class IntegerExecutor:
    """Runs a QDQ graph with integers.

    Args:
        model: A quantized model; weights may be packed.

    Attributes:
        float_nodes: Names of nodes computed in float in the last run: the quantization of the inputs, and
            operators without an integer form, such as a Softmax.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = unpack_weights(model)
        self._view = GraphView(self._model)
        self._opsets = list(self._model.opset_import)
        self._references: dict[int, ReferenceEvaluator] = {}
        self.float_nodes: list[str] = []

    def run(
        self, inputs: Mapping[str, Array], watch: Collection[str] = (), given: Mapping[str, Array] | None = None
    ) -> dict[str, Array]:
        """Run the graph.

        Args:
            inputs: The graph's inputs, by name.
            watch: Further tensors to return, such as codes (``name/q``).
            given: Values that later nodes read instead of the computed ones, by name; the computed ones are returned.
                With the codes of another runtime, each layer is compared on its own.

        Returns:
            Outputs and watched tensors, by name. Codes are integers, everything else float32.
        """
        values: dict[str, Value] = dict(inputs)
        self.float_nodes = []
        for tensor in self._model.graph.initializer:
            values[tensor.name] = onnx.numpy_helper.to_array(tensor)
        returned = {*(output.name for output in self._model.graph.output), *watch}
        results: dict[str, Array] = {}
        for index, node in enumerate(self._model.graph.node):
            outputs = self._run(index, node, [values[name] if name else None for name in node.input])
            for name, value in zip(node.output, outputs, strict=False):
                if name in returned:
                    results[name] = _plain(value)
                values[name] = given[name] if given and name in given else value
        return results

    def _run(self, index: int, node: onnx.NodeProto, arguments: list[Value | None]) -> list[Value]:
        integer = _INTEGER.get(node.op_type)
        first = arguments[0] if arguments else None
        if node.op_type == "QuantizeLinear" and not isinstance(first, Scaled):
            self.float_nodes.append(node_name(node))
            return [_quantize_float(node, arguments)]
        if node.op_type == "DequantizeLinear":
            return [_dequantize(node, arguments)]
        if integer is not None and any(isinstance(value, Scaled) for value in arguments):
            if all(value is None or isinstance(value, Scaled) for value in arguments[: _SCALED_INPUTS[node.op_type]]):
                return [integer(node, arguments)]
        elif node.op_type == "MaxPool" and first is not None and not isinstance(first, Scaled):
            return [_max_pool(node, first)]
        plain = [None if value is None else _plain(value) for value in arguments]
        if any(value is not None and value.dtype == np.float32 for value in plain[:1]):
            self.float_nodes.append(node_name(node))
        return list(self._reference(index, node, plain))

    def _reference(self, index: int, node: onnx.NodeProto, arguments: list[Array | None]) -> list[Array]:
        """Run one node by ONNX's reference implementation: data movement on codes, everything else in float."""
        given = {name: value for name, value in zip(node.input, arguments, strict=True) if value is not None}
        if index not in self._references:
            inputs = [
                onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(value.dtype), None)
                for name, value in given.items()
            ]
            outputs = [onnx.helper.make_empty_tensor_value_info(name) for name in node.output if name]
            graph = onnx.helper.make_graph([node], "one", inputs, outputs)
            alone = onnx.helper.make_model(graph, opset_imports=self._opsets, ir_version=self._model.ir_version)
            self._references[index] = ReferenceEvaluator(alone)
        return [np.asarray(value) for value in self._references[index].run(None, given)]


def _plain(value: Value) -> Array:
    return value.to_float() if isinstance(value, Scaled) else value


def _array(value: Value | None) -> Array:
    if value is None or isinstance(value, Scaled):
        raise ValueError("expected a plain tensor")
    return value


def _scaled(value: Value | None) -> Scaled:
    if not isinstance(value, Scaled):
        raise ValueError("expected quantized values")
    return value


def _broadcast(values: Array, node: onnx.NodeProto, rank: int) -> Array:
    if values.ndim == 0 or values.size == 1:
        return values.reshape(())
    shape = [1] * rank
    shape[attribute(node, "axis", 1)] = -1
    return values.reshape(shape)


def _dequantize(node: onnx.NodeProto, arguments: list[Value | None]) -> Scaled:
    codes, scale = _array(arguments[0]), _array(arguments[1])
    values = codes.astype(np.int32)
    if len(arguments) > 2 and arguments[2] is not None:
        values = values - _broadcast(_array(arguments[2]).astype(np.int32), node, codes.ndim)
    return Scaled(((values, _broadcast(scale.astype(np.float64), node, codes.ndim)),))


def _limits(dtype: np.dtype[np.generic]) -> tuple[int, int]:
    info = np.iinfo(dtype)  # type: ignore[type-var]
    return int(info.min), int(info.max)


def _quantize(node: onnx.NodeProto, arguments: list[Value | None]) -> Array:
    scale, zero_point = _array(arguments[1]), _array(arguments[2])
    low, high = _limits(zero_point.dtype)
    terms = list(_scaled(arguments[0]).terms)
    return requantize(terms, float(scale), int(zero_point), low, high).astype(zero_point.dtype)


def _quantize_float(node: onnx.NodeProto, arguments: list[Value | None]) -> Array:
    x, scale, zero_point = (_array(value) for value in arguments)
    low, high = _limits(zero_point.dtype)
    codes = np.rint(x / _broadcast(scale, node, x.ndim)) + _broadcast(zero_point.astype(np.int32), node, x.ndim)
    clipped: Array = np.clip(codes, low, high)
    return clipped.astype(zero_point.dtype)


def _with_bias(values: Array, scale: Array, bias: Value | None, rank: int) -> Scaled:
    """Add an int32 bias per channel (axis 1), whose scale must be the accumulator's."""
    if bias is not None:
        codes, own = _scaled(bias).single_term
        if not np.allclose(own.reshape(-1), scale.reshape(-1), rtol=1e-6):
            raise ValueError("a bias has another scale than its layer's accumulator")
        values = values + codes.reshape(1, -1, *[1] * (rank - 2))
    return Scaled(((values.astype(np.int32), scale),))


def _conv(node: onnx.NodeProto, arguments: list[Value | None]) -> Scaled:
    (x, x_scale), (weight, weight_scale) = _scaled(arguments[0]).single_term, _scaled(arguments[1]).single_term
    groups, outputs, rank = attribute(node, "group", 1), weight.shape[0], x.ndim
    seen = windows(node, x, weight.shape[2:], 0)
    positions = seen.shape[2:rank]
    columns = seen.reshape(x.shape[0], groups, x.shape[1] // groups, prod(positions), prod(weight.shape[2:]))
    columns = columns.transpose(0, 1, 3, 2, 4).reshape(x.shape[0], groups, prod(positions), -1)
    matrix = weight.reshape(groups, outputs // groups, -1).transpose(0, 2, 1)
    values = np.matmul(columns, matrix).transpose(0, 1, 3, 2).reshape(x.shape[0], outputs, *positions)
    scale = x_scale * weight_scale.reshape(1, -1, *[1] * (rank - 2))
    return _with_bias(values, scale, arguments[2] if len(arguments) > 2 else None, rank)


def _gemm(node: onnx.NodeProto, arguments: list[Value | None]) -> Scaled:
    (left, left_scale), (right, right_scale) = _scaled(arguments[0]).single_term, _scaled(arguments[1]).single_term
    left = left.T if attribute(node, "transA", 0) else left
    right = right.T if attribute(node, "transB", 0) else right
    scale = left_scale * right_scale.reshape(1, -1)
    return _with_bias(np.matmul(left, right), scale, arguments[2] if len(arguments) > 2 else None, 2)


def _matmul(node: onnx.NodeProto, arguments: list[Value | None]) -> Scaled:
    (left, left_scale), (right, right_scale) = _scaled(arguments[0]).single_term, _scaled(arguments[1]).single_term
    scale = left_scale * (right_scale.reshape(-1) if right_scale.ndim else right_scale)
    return Scaled(((np.matmul(left, right).astype(np.int32), scale),))


def _add(node: onnx.NodeProto, arguments: list[Value | None]) -> Scaled:
    return Scaled((*_scaled(arguments[0]).terms, *_scaled(arguments[1]).terms))


def _mul(node: onnx.NodeProto, arguments: list[Value | None]) -> Scaled:
    (left, left_scale), (right, right_scale) = _scaled(arguments[0]).single_term, _scaled(arguments[1]).single_term
    return Scaled(((left * right, left_scale * right_scale),))


def _relu(node: onnx.NodeProto, arguments: list[Value | None]) -> Scaled:
    values, scale = _scaled(arguments[0]).single_term
    return Scaled(((np.maximum(values, 0), scale),))


def _global_average_pool(node: onnx.NodeProto, arguments: list[Value | None]) -> Scaled:
    values, scale = _scaled(arguments[0]).single_term
    space = tuple(range(2, values.ndim))
    total = values.sum(axis=space, keepdims=True, dtype=np.int32)
    return Scaled(((total, scale / prod(values.shape[2:])),))


def _average_pool(node: onnx.NodeProto, arguments: list[Value | None]) -> Scaled:
    values, scale = _scaled(arguments[0]).single_term
    kernel = tuple(attribute(node, "kernel_shape"))
    inside = tuple(range(values.ndim, values.ndim + len(kernel)))
    total = windows(node, values, kernel, 0).sum(axis=inside, dtype=np.int32)
    counted = int(attribute(node, "count_include_pad", 0))
    ones = np.ones((1, 1, *values.shape[2:]), np.int32)
    count = windows(node, ones, kernel, counted).sum(axis=inside)
    return Scaled(((total, scale / count),))


def _max_pool(node: onnx.NodeProto, codes: Array) -> Array:
    kernel = tuple(attribute(node, "kernel_shape"))
    low = int(np.iinfo(codes.dtype).min) if codes.dtype.kind in "iu" else -np.inf
    inside = tuple(range(codes.ndim, codes.ndim + len(kernel)))
    largest: Array = windows(node, codes, kernel, low).max(axis=inside)  # type: ignore[arg-type]
    return largest


_INTEGER: dict[str, Callable[[onnx.NodeProto, list[Value | None]], Value]] = {
    "Add": _add,
    "AveragePool": _average_pool,
    "Conv": _conv,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average_pool,
    "MatMul": _matmul,
    "Mul": _mul,
    "QuantizeLinear": _quantize,
    "Relu": _relu,
}
_SCALED_INPUTS = {
    "Add": 2,
    "AveragePool": 1,
    "Conv": 3,
    "Gemm": 3,
    "GlobalAveragePool": 1,
    "MatMul": 2,
    "Mul": 2,
    "QuantizeLinear": 1,
    "Relu": 1,
}
