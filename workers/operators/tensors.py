"""Conversion between ONNX's and torch's element types."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

import numpy as np
import onnx
import torch
from onnx import TensorProto

from faceter.contracts.errors import FaceterError, ProblemKind

DTYPES: dict[int, torch.dtype] = {
    TensorProto.FLOAT: torch.float32,
    TensorProto.UINT8: torch.uint8,
    TensorProto.INT8: torch.int8,
    TensorProto.UINT16: torch.uint16,
    TensorProto.INT16: torch.int16,
    TensorProto.INT32: torch.int32,
    TensorProto.INT64: torch.int64,
    TensorProto.BOOL: torch.bool,
    TensorProto.FLOAT16: torch.float16,
    TensorProto.DOUBLE: torch.float64,
    TensorProto.UINT32: torch.uint32,
    TensorProto.UINT64: torch.uint64,
    TensorProto.BFLOAT16: torch.bfloat16,
    TensorProto.FLOAT8E4M3FN: torch.float8_e4m3fn,
    TensorProto.FLOAT8E4M3FNUZ: torch.float8_e4m3fnuz,
    TensorProto.FLOAT8E5M2: torch.float8_e5m2,
    TensorProto.FLOAT8E5M2FNUZ: torch.float8_e5m2fnuz,
    TensorProto.UINT4: torch.uint8,
    TensorProto.INT4: torch.int8,
    TensorProto.UINT2: torch.uint8,
    TensorProto.INT2: torch.int8,
}
"""ONNX element type -> torch dtype; integers below 8 bits use the 8-bit type of their sign."""

INTEGER_RANGES: dict[int, tuple[int, int]] = {
    TensorProto.UINT2: (0, 3),
    TensorProto.INT2: (-2, 1),
    TensorProto.UINT4: (0, 15),
    TensorProto.INT4: (-8, 7),
    TensorProto.UINT8: (0, 255),
    TensorProto.INT8: (-128, 127),
    TensorProto.UINT16: (0, 65535),
    TensorProto.INT16: (-32768, 32767),
}
"""Lowest and highest value of the integer types a tensor can be quantized to."""

_ELEMENT_TYPES: dict[torch.dtype, int] = {}
for _element_type, _dtype in DTYPES.items():
    _ELEMENT_TYPES.setdefault(_dtype, _element_type)

_SAME_BITS = {
    torch.bfloat16: np.int16,
    torch.float8_e4m3fn: np.uint8,
    torch.float8_e4m3fnuz: np.uint8,
    torch.float8_e5m2: np.uint8,
    torch.float8_e5m2fnuz: np.uint8,
}


def torch_dtype(element_type: int) -> torch.dtype:
    """Return torch's dtype for an ONNX element type.

    Raises:
        FaceterError: ``UNSUPPORTED_OPERATOR`` if torch has none (strings, complex numbers, 4-bit floats).
    """
    try:
        return DTYPES[element_type]
    except KeyError:
        name = TensorProto.DataType.Name(element_type)
        raise FaceterError(
            ProblemKind.UNSUPPORTED_OPERATOR, f"The model uses tensors of type {name}, which torch does not support."
        ) from None


def element_type_of(dtype: torch.dtype) -> int:
    """Return the ONNX element type of a torch dtype (the 8-bit one for int8 and uint8)."""
    return _ELEMENT_TYPES[dtype]


def from_proto(tensor: TensorProto) -> torch.Tensor:
    """Return a tensor's values, on the CPU, in new memory.

    Raises:
        FaceterError: ``UNSUPPORTED_OPERATOR`` if torch has no such element type.
    """
    dtype = torch_dtype(tensor.data_type)
    array = onnx.numpy_helper.to_array(tensor)
    if dtype in _SAME_BITS:
        return torch.from_numpy(array.view(_SAME_BITS[dtype]).copy()).view(dtype)
    if tensor.data_type in (TensorProto.UINT4, TensorProto.INT4, TensorProto.UINT2, TensorProto.INT2):
        array = array.astype(np.uint8 if dtype == torch.uint8 else np.int8)
    return torch.from_numpy(np.array(array, order="C"))


WIDE_UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)
"""Types for which torch has little arithmetic."""

Parameters = ParamSpec("Parameters")


def widened(function: Callable[Parameters, torch.Tensor]) -> Callable[Parameters, torch.Tensor]:
    """Run a function on uint16, uint32 and uint64, for which torch has little arithmetic, in int64.

    Results other than booleans are cast to the type of the first such operand. Sums, differences and products wrap as
    that type; comparisons of values from 2^63 on are wrong.
    """

    @wraps(function)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> torch.Tensor:
        narrow = next((a.dtype for a in args if isinstance(a, torch.Tensor) and a.dtype in WIDE_UNSIGNED), None)
        if narrow is None:
            return function(*args, **kwargs)
        wide = [a.to(torch.int64) if isinstance(a, torch.Tensor) and a.dtype in WIDE_UNSIGNED else a for a in args]
        result = function(*wide, **kwargs)  # type: ignore[arg-type]
        return result if result.dtype == torch.bool else result.to(narrow)

    return run
