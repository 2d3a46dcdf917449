"""Shape inference for all tensors of a graph, without copying its weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx

from faceter.graphs.view import constant_value

FLOAT_TYPES = frozenset({"float16", "bfloat16", "float32", "float64"})
"""NumPy's (and ml_dtypes') names of the floating-point types of tensors."""

_LARGE_ELEMENTS = 1024


@dataclass(frozen=True)
class TensorInfo:
    """Inferred type of a tensor.

    Attributes:
        dtype: Numpy's name.
        shape: Sizes: an integer, the name of a symbolic dimension, or None if unknown. None if the rank is unknown.
    """

    dtype: str
    shape: tuple[int | str | None, ...] | None

    @property
    def static(self) -> tuple[int, ...] | None:
        """The shape if every size is known, else None."""
        if self.shape is None:
            return None
        sizes = tuple(size for size in self.shape if isinstance(size, int))
        return sizes if len(sizes) == len(self.shape) else None

    @property
    def elements(self) -> int | None:
        """Number of elements if every size is known, else None."""
        return None if self.static is None else prod(self.static)


def infer_shapes(
    model: onnx.ModelProto, *, batch: int | None = None, inputs: Mapping[str, Sequence[int]] | None = None
) -> dict[str, TensorInfo]:
    """Infer type and shape of every tensor of the main graph, including weights.

    Args:
        model: A checked model; it is not changed.
        batch: Size to use for a dynamic first axis of the inputs.
        inputs: Shapes to use for inputs, by name.

    Returns:
        Types by tensor name; tensors of unknown type are missing.
    """
    light = _without_weights(model)
    if inputs is not None:
        _fix_inputs(light.graph, inputs)
    if batch is not None:
        _fix_batch(light.graph, batch)
    inferred = onnx.shape_inference.infer_shapes(light, data_prop=True)
    shapes: dict[str, TensorInfo] = {}
    for value in (*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output):
        info = value_info(value)
        if info is not None:
            shapes[value.name] = info
    for tensor in model.graph.initializer:
        shapes[tensor.name] = TensorInfo(dtype_name(tensor.data_type), tuple(tensor.dims))
    return shapes


def largest_tensor(shapes: Mapping[str, TensorInfo]) -> int:
    """Return the number of elements of the largest tensor of known size; 0 if there is none."""
    return max((info.elements or 0 for info in shapes.values()), default=0)


def value_info(value: onnx.ValueInfoProto) -> TensorInfo | None:
    """Return the type in a ValueInfoProto; None if it is not a tensor or has no element type."""
    if not value.type.HasField("tensor_type") or not value.type.tensor_type.elem_type:
        return None
    tensor = value.type.tensor_type
    shape: tuple[int | str | None, ...] | None = None
    if tensor.HasField("shape"):
        shape = tuple(
            size.dim_value if size.HasField("dim_value") else (size.dim_param or None) for size in tensor.shape.dim
        )
    return TensorInfo(dtype_name(tensor.elem_type), shape)


def dtype_name(elem_type: int) -> str:
    """Return numpy's (for ``bfloat16`` and the like, ml_dtypes') name of an ONNX element type."""
    if elem_type == onnx.TensorProto.STRING:
        return "str"
    return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(elem_type)).name


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Copy the model with large initializers and Constant nodes replaced by inputs of the same type and shape."""
    light = onnx.ModelProto()
    light.ir_version = max(model.ir_version, 4)
    light.opset_import.extend(model.opset_import)
    light.functions.extend(model.functions)
    graph = light.graph
    graph.name = model.graph.name or "graph"
    graph.value_info.extend(model.graph.value_info)
    graph.output.extend(model.graph.output)
    initializers = {tensor.name for tensor in model.graph.initializer}
    graph.input.extend(value for value in model.graph.input if value.name not in initializers)
    for tensor in model.graph.initializer:
        if prod(tensor.dims) > _LARGE_ELEMENTS:
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
        else:
            graph.initializer.append(tensor)
    for node in model.graph.node:
        value = constant_value(node)
        if value is not None and value.size > _LARGE_ELEMENTS:
            kind = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
            graph.input.append(onnx.helper.make_tensor_value_info(node.output[0], kind, list(value.shape)))
        else:
            graph.node.append(node)
    return light


def _fix_inputs(graph: onnx.GraphProto, shapes: Mapping[str, Sequence[int]]) -> None:
    """Give inputs their shapes, and remove the shapes of other tensors, which would contradict them."""
    for value in graph.input:
        sizes = value.type.tensor_type.shape.dim
        for size, given in zip(sizes, shapes.get(value.name, ()), strict=False):
            size.Clear()
            size.dim_value = given
    del graph.value_info[:]
    for value in graph.output:
        for size in value.type.tensor_type.shape.dim:
            size.Clear()


def _fix_batch(graph: onnx.GraphProto, batch: int) -> None:
    renamed: set[str] = set()
    for value in graph.input:
        sizes = value.type.tensor_type.shape.dim
        if len(sizes) and not sizes[0].HasField("dim_value"):
            if sizes[0].dim_param:
                renamed.add(sizes[0].dim_param)
            sizes[0].dim_value = batch
    for value in (*graph.value_info, *graph.output, *graph.input):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param in renamed:
                size.dim_value = batch
