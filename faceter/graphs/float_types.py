"""Models in float16, bfloat16 or float64, worked on in float32."""

from collections.abc import Iterator, Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from faceter.graphs.shapes import dtype_name, infer_shapes
from faceter.graphs.view import is_standard, rename_tensors, replace_nodes, subgraphs

NARROW_TYPES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
"""Types of which float32 has every value."""

_LAYERS = frozenset(
    {
        "Conv", "ConvTranspose", "DeformConv", "Einsum", "GRU", "Gemm", "LSTM", "MatMul", "RNN",
        "BatchNormalization", "InstanceNormalization", "LayerNormalization",
    }
)  # fmt: skip
_TYPE_ATTRIBUTES = frozenset({"to", "dtype", "output_datatype", "precision", "softmax_precision", "stash_type"})
_FLOAT32_RANGE = float(np.finfo(np.float32).max)


def other_float_types(model: onnx.ModelProto) -> list[int]:
    """Return the floating-point types besides float32 that a model computes in, as ONNX numbers them.

    float16 and bfloat16 count wherever they occur. float64 counts only if a layer computes in it: sizes are often
    computed in float64, where float32 would round them.
    """
    found = {item for item in _element_types(model) if item in NARROW_TYPES}
    if _layers_in_double(model):
        found.add(TensorProto.DOUBLE)
    return sorted(found)


def has_bfloat16_signature(model: onnx.ModelProto) -> bool:
    """Whether an input or output is bfloat16."""
    values = (*model.graph.input, *model.graph.output)
    return any(value.type.tensor_type.elem_type == TensorProto.BFLOAT16 for value in values)


def in_float32(model: onnx.ModelProto, *, keep_signature: bool = True) -> onnx.ModelProto:
    """Return the model with weights and arithmetic in float32.

    Weights that float32 cannot represent are rounded, finite ones beyond its range become its largest value. Casts to
    the other types become casts to float32.

    Args:
        model: A checked model; it is not changed.
        keep_signature: Whether inputs and outputs keep their types, by a Cast at each; otherwise they are float32 too.

    Returns:
        The model itself if `other_float_types` finds none.
    """
    types = frozenset(other_float_types(model))
    if not types:
        return model
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    signature = float_signature(model)
    _convert(changed.graph, types)
    if keep_signature:
        _cast_at_ends(changed.graph, signature)
    return changed


def float_type_warnings(model: onnx.ModelProto) -> list[str]:
    """Return what a report says of a model that is not in float32 alone: one sentence, or none."""
    names = [dtype_name(item) for item in other_float_types(model)]
    if not names:
        return []
    return [
        f"The model computes in {' and '.join(names)}. It was worked on in float32: weights and activations that are "
        "not quantized are float32 now, and inputs and outputs keep their types."
    ]


def float_signature(model: onnx.ModelProto) -> dict[str, int]:
    """Return the ONNX element types of the inputs and outputs that `in_float32` changes without a signature."""
    types = other_float_types(model)
    values = (*model.graph.input, *model.graph.output)
    return {
        value.name: value.type.tensor_type.elem_type for value in values if value.type.tensor_type.elem_type in types
    }


def with_signature(model: onnx.ModelProto, signature: Mapping[str, int]) -> onnx.ModelProto:
    """Return a float32 model with other types at inputs and outputs, by a Cast at each.

    Args:
        model: It is not changed; it is returned as it is if the signature is empty.
        signature: ONNX element types by name of an input or output.
    """
    if not signature:
        return model
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    _cast_at_ends(changed.graph, signature)
    return changed


def _element_types(model: onnx.ModelProto) -> Iterator[int]:
    for graph in _graphs(model.graph):
        for value in (*graph.input, *graph.output):
            yield value.type.tensor_type.elem_type
        for tensor in graph.initializer:
            yield tensor.data_type
        for node in graph.node:
            for item in node.attribute:
                if item.type == onnx.AttributeProto.TENSOR:
                    yield item.t.data_type
                elif item.type == onnx.AttributeProto.INT and item.name in _TYPE_ATTRIBUTES:
                    yield item.i


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for inner in subgraphs(node):
            yield from _graphs(inner)


def _layers_in_double(model: onnx.ModelProto) -> bool:
    shapes = infer_shapes(model)
    return any(
        shapes[name].dtype == "float64"
        for node in model.graph.node
        if node.op_type in _LAYERS and is_standard(node)
        for name in node.input
        if name in shapes
    )


def _convert(graph: onnx.GraphProto, types: frozenset[int]) -> None:
    for part in _graphs(graph):
        for value in (*part.input, *part.output, *part.value_info):
            tensor = value.type.tensor_type
            if value.type.HasField("tensor_type") and tensor.elem_type in types:
                tensor.elem_type = TensorProto.FLOAT
        for tensor in part.initializer:
            if tensor.data_type in types:
                tensor.CopyFrom(_tensor(tensor))
        for node in part.node:
            for item in node.attribute:
                if item.type == onnx.AttributeProto.TENSOR and item.t.data_type in types:
                    item.t.CopyFrom(_tensor(item.t))
                elif item.type == onnx.AttributeProto.INT and item.name in _TYPE_ATTRIBUTES and item.i in types:
                    item.i = TensorProto.FLOAT


def _tensor(tensor: TensorProto) -> TensorProto:
    values = numpy_helper.to_array(tensor)
    finite = np.isfinite(values.astype(np.float64))
    clipped = np.clip(values.astype(np.float64), -_FLOAT32_RANGE, _FLOAT32_RANGE)
    with np.errstate(over="ignore"):
        return numpy_helper.from_array(
            np.where(finite, clipped, values.astype(np.float64)).astype(np.float32), tensor.name
        )


def _cast_at_ends(graph: onnx.GraphProto, signature: Mapping[str, int]) -> None:
    """Give inputs and outputs their types back, with Casts; the tensors between get names of their own."""
    taken = {name for part in _graphs(graph) for node in part.node for name in (*node.input, *node.output)}
    taken |= {tensor.name for tensor in graph.initializer} | {value.name for value in graph.input}
    initializers = {tensor.name for tensor in graph.initializer}
    renamed: dict[str, str] = {}
    before, after = [], []
    for value in graph.input:
        if value.name in signature and value.name not in initializers:
            value.type.tensor_type.elem_type = signature[value.name]
            renamed[value.name] = _unique(f"{value.name}/float32", taken)
            before.append(helper.make_node("Cast", [value.name], [renamed[value.name]], to=TensorProto.FLOAT))
    for value in graph.output:
        if value.name in signature and value.name not in renamed:
            value.type.tensor_type.elem_type = signature[value.name]
            renamed[value.name] = _unique(f"{value.name}/float32", taken)
            after.append(helper.make_node("Cast", [renamed[value.name]], [value.name], to=signature[value.name]))
    nodes = list(graph.node)
    for node in nodes:
        rename_tensors(node, renamed)
    for tensor in graph.initializer:
        tensor.name = renamed.get(tensor.name, tensor.name)
    for value in graph.value_info:
        value.name = renamed.get(value.name, value.name)
    replace_nodes(graph, [*before, *nodes, *after])


def _unique(name: str, taken: set[str]) -> str:
    candidate, number = name, 2
    while candidate in taken:
        candidate, number = f"{name}_{number}", number + 1
    taken.add(candidate)
    return candidate
