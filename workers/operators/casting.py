"""Casts between element types."""

import torch
from onnx import TensorProto
from torch import Tensor

from workers.operators.node import Node, TorchOperator
from workers.operators.tensors import INTEGER_RANGES, element_type_of, torch_dtype

_FLOAT8 = (torch.float8_e4m3fn, torch.float8_e4m3fnuz, torch.float8_e5m2, torch.float8_e5m2fnuz)
_PACKED = (TensorProto.UINT4, TensorProto.INT4, TensorProto.UINT2, TensorProto.INT2)


def cast(node: Node, x: Tensor) -> Tensor:
    """Cast to the type of the attribute ``to``; floats are truncated towards zero to integers."""
    return converted(x, node.integer("to"), saturate=bool(node.integer("saturate", 1)))


def cast_like(node: Node, x: Tensor, other: Tensor) -> Tensor:
    """Cast to the type of another tensor."""
    element_type = node.input_type(1) if node.input_type(1) in _PACKED else element_type_of(other.dtype)
    return converted(x, element_type, saturate=bool(node.integer("saturate", 1)))


def converted(x: Tensor, element_type: int, *, saturate: bool) -> Tensor:
    """Cast to an ONNX element type.

    Args:
        x: Any tensor.
        element_type: ONNX element type.
        saturate: Whether what is too large for an 8-bit float becomes its largest value, and not NaN or infinity.
    """
    dtype = torch_dtype(element_type)
    if dtype in _FLOAT8:
        return to_float8(x, dtype, saturate=saturate)
    if element_type in _PACKED:
        low, high = INTEGER_RANGES[element_type]
        span = high - low + 1
        return ((x.to(torch.int64) - low).remainder(span) + low).to(dtype)
    return x.to(dtype)


def to_float8(x: Tensor, dtype: torch.dtype, *, saturate: bool) -> Tensor:
    """Cast to an 8-bit float, with what does not fit at the type's bound, or infinite, or else NaN."""
    limit = torch.finfo(dtype).max
    wide = x.to(torch.float32)
    bounded = wide.clamp(-limit, limit)
    if saturate:
        return torch.where(torch.isnan(wide), wide, bounded).to(dtype)
    if dtype == torch.float8_e5m2:
        return wide.to(dtype)
    rounded = bounded.to(dtype)
    half_step = limit * 2.0 ** -(5 if dtype in (torch.float8_e4m3fn, torch.float8_e4m3fnuz) else 4)
    return torch.where(
        wide.abs() > limit + half_step, torch.full_like(wide, float("nan")), rounded.to(torch.float32)
    ).to(dtype)


def bit_cast(node: Node, x: Tensor) -> Tensor:
    """Reinterpret the bits of each element as another type of the same width (opset 26)."""
    return x.contiguous().view(torch_dtype(node.integer("to")))


OPERATORS = {
    "BitCast": TorchOperator(bit_cast),
    "Cast": TorchOperator(cast),
    "CastLike": TorchOperator(cast_like, shape_only=(1,)),
}
