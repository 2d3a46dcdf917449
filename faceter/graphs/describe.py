"""Summary of a model: layers, tensors, operators, parameters and multiply-accumulates."""

from collections import Counter
from collections.abc import Collection, Sequence
from math import prod

import numpy as np
import onnx

from faceter.contracts.graphs import Graph, Layer, Tensor
from faceter.contracts.models import TensorSpec
from faceter.graphs.macs import multiply_accumulates
from faceter.graphs.operators import unsupported
from faceter.graphs.packing import unpack_weights
from faceter.graphs.properties import MOST_NAME_CHARACTERS, shown_properties
from faceter.graphs.quantized_operators import WEIGHT_INPUTS, codes_per_byte
from faceter.graphs.shapes import FLOAT_TYPES, dtype_name, infer_shapes, value_info
from faceter.graphs.value_types import type_name
from faceter.graphs.view import GraphView, attribute, inputs_used, is_standard, opset_of, unique_names

_FULLY_CONNECTED = frozenset({"Gemm", "MatMul", "MatMulInteger", "QLinearMatMul"})
_WITHOUT_PARAMETERS = frozenset(
    {"Clip", "ConstantOfShape", "Expand", "OneHot", "Pad", "Range", "Resize", "Slice", "Tile", "TopK", "Upsample"}
)


def input_specs(model: onnx.ModelProto) -> list[TensorSpec]:
    """Return the inputs of a model in order, without initializers."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [_spec(value) for value in model.graph.input if value.name not in weights]


def output_specs(model: onnx.ModelProto) -> list[TensorSpec]:
    """Return the outputs of a model in order; shapes that the file does not give are inferred."""
    shapes = infer_shapes(model)
    specs = []
    for value in model.graph.output:
        spec = _spec(value)
        info = shapes.get(value.name)
        if not spec.shape and info is not None and info.shape:
            spec = TensorSpec(name=value.name, dtype=info.dtype, shape=list(info.shape))
        specs.append(spec)
    return specs


def parameter_count(model: onnx.ModelProto) -> int:
    """Return the number of trainable parameters, as `describe` counts them."""
    view = GraphView(unpack_weights(model))
    counter = _ParameterCounter(view)
    return sum(counter.count(node) for node in view.graph.node)


def describe(model: onnx.ModelProto) -> Graph:
    """Describe a model's main graph.

    Parameters are the elements of floating-point (or quantized) initializers of rank 1 and more that a node computes
    with. Running statistics of BatchNormalization do not count, nor does an all-zero bias before one, which exporters
    add. Shared weights count once, with the first node that reads them. Multiply-accumulates are for batch size 1 where
    the batch axis is dynamic.

    Args:
        model: A checked model; weights may be packed.

    Returns:
        Layers in the order of execution, every tensor that is not a weight, and totals.
    """
    model = unpack_weights(model)
    view = GraphView(model)
    shapes = infer_shapes(model)
    at_batch_one = infer_shapes(model, batch=1)
    counter = _ParameterCounter(view)
    layers: list[Layer] = []
    tensors = [Tensor(name=spec.name, dtype=spec.dtype, shape=spec.shape) for spec in input_specs(model)]
    names = unique_names(view.graph)
    for node, name in zip(view.graph.node, names, strict=True):
        layers.append(
            Layer(
                name=name,
                operator=node.op_type,
                inputs=[item for item in node.input if item],
                outputs=[item for item in node.output if item],
                parameters=counter.count(node),
                macs=multiply_accumulates(node, at_batch_one),
                batch_norm=_batch_norm_follows(node, view),
            )
        )
        for output in node.output:
            info = shapes.get(output)
            if output and info is not None:
                shape = list(info.shape) if info.shape is not None else []
                tensors.append(Tensor(name=output, dtype=info.dtype, shape=shape, produced_by=name))
    macs = [layer.macs for layer in layers]
    shown = shown_properties(model)
    return Graph(
        opset=opset_of(model),
        operators=dict(Counter(node.op_type for node in view.graph.node).most_common()),
        layers=layers,
        tensors=tensors,
        parameters=sum(layer.parameters for layer in layers),
        macs=None if None in macs else sum(count for count in macs if count is not None),
        feature_tensor=_feature_tensor(layers, {tensor.name for tensor in tensors}),
        producer=" ".join(filter(None, (_text(model.producer_name), _text(model.producer_version)))) or None,
        properties=shown.values,
        properties_cut=shown.cut,
        properties_left_out=shown.left_out,
        unsupported_operators=sorted({operator for operator, _ in unsupported(model)}),
    )


def _feature_tensor(layers: Sequence[Layer], tensors: Collection[str]) -> str | None:
    connected = (layer for layer in reversed(layers) if layer.operator in _FULLY_CONNECTED)
    last = next(connected, None)
    return None if last is None else next((name for name in last.inputs if name in tensors), None)


def _text(value: str) -> str:
    return value.strip()[:MOST_NAME_CHARACTERS]


def _spec(value: onnx.ValueInfoProto) -> TensorSpec:
    info = value_info(value)
    if info is None:
        name = "float32" if value.type.WhichOneof("value") is None else type_name(value.type)
        return TensorSpec(name=value.name, dtype=name, shape=[])
    return TensorSpec(name=value.name, dtype=info.dtype, shape=list(info.shape or ()))


def _batch_norm_follows(node: onnx.NodeProto, view: GraphView) -> bool:
    if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
        return False
    return any(
        item.op_type == "BatchNormalization" and is_standard(item) and item.input[0] == node.output[0]
        for item in view.consumers.get(node.output[0], [])
    )


class _ParameterCounter:
    """Counts trainable parameters node by node, each tensor once."""

    def __init__(self, view: GraphView) -> None:
        self._view = view
        self._seen: set[str] = set()

    def count(self, node: onnx.NodeProto) -> int:
        if node.op_type in _WITHOUT_PARAMETERS or node.op_type == "Constant":
            return 0
        total = 0
        for index, name in enumerate(dict.fromkeys(inputs_used(node))):
            if name in self._seen or not self._counts(node, index, name):
                continue
            self._seen.add(name)
            total += self._codes(node, name)
        return total

    def _counts(self, node: onnx.NodeProto, index: int, name: str) -> bool:
        if node.op_type == "BatchNormalization" and index in (3, 4):
            return False
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            return index == 0 and self._view.is_initializer(name) and len(self._view.tensor(name).dims) > 0
        if node.op_type in WEIGHT_INPUTS:
            return name in {node.input[i] for i in WEIGHT_INPUTS[node.op_type] if i < len(node.input)} and (
                self._view.is_initializer(name)
            )
        if node.op_type == "Conv" and index == 2 and _batch_norm_follows(node, self._view):
            value = self._view.constant(name)
            if value is not None and not np.any(value):
                return False
        return self._is_float(name)

    def _is_float(self, name: str) -> bool:
        if self._view.is_initializer(name):
            tensor = self._view.tensor(name)
            return len(tensor.dims) > 0 and dtype_name(tensor.data_type) in FLOAT_TYPES
        value = self._view.constant(name)
        return value is not None and value.ndim > 0 and value.dtype.name in FLOAT_TYPES

    def _codes(self, node: onnx.NodeProto, name: str) -> int:
        """Return the elements of a weight; of one packed in bytes, the codes without what fills the last block."""
        elements = self._elements(name)
        per_byte = codes_per_byte(node)
        if per_byte == 1 or not self._view.is_initializer(name) or self._is_float(name):
            return elements
        if self._view.tensor(name).data_type not in (onnx.TensorProto.UINT8, onnx.TensorProto.INT8):
            return elements
        rows, columns = attribute(node, "N"), attribute(node, "K")
        return int(rows * columns if rows and columns else elements * per_byte)

    def _elements(self, name: str) -> int:
        if self._view.is_initializer(name):
            return prod(self._view.tensor(name).dims)
        value = self._view.constant(name)
        return 0 if value is None else value.size
