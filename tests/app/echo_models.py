"""Models that return their inputs, one for each element type, and values to send them."""

from typing import Any

import numpy as np
from onnx import TensorProto, helper

from app.services.inference_protocol.datatypes import DATATYPES
from tests.engines import graphs

TYPES = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BF16": TensorProto.BFLOAT16,
    "BYTES": TensorProto.STRING,
}
"""ONNX's element type of each datatype."""

DTYPES = {name: dtype for dtype, name in DATATYPES.items()}


def echo(datatype: str) -> bytes:
    """Return a model of two inputs, `a` [n, 3] and `b` [m], and the outputs `x` and `y` that are equal to them."""
    return graphs.model(
        [helper.make_node("Identity", ["a"], ["x"]), helper.make_node("Identity", ["b"], ["y"])],
        {"a": (TYPES[datatype], ["n", 3]), "b": (TYPES[datatype], ["m"])},
        {"x": (TYPES[datatype], ["n", 3]), "y": (TYPES[datatype], ["m"])},
    )


def values(datatype: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return inputs `a` and `b` for `echo`, with the extremes of the type; BF16 as float32, BYTES as bytes."""
    if datatype == "BYTES":
        return np.array([["", "a", "bé"], ["c" * 300, "\n", "∀"]], object), np.array(["z"], object)
    if datatype == "BOOL":
        return np.array([[True, False, True], [False, False, True]]), np.array([True])
    dtype = np.dtype(np.float32 if datatype == "BF16" else DTYPES[datatype])
    if dtype.kind == "f":
        return np.array([[0.5, -2, 96], [1, 0, -0.25]], dtype), np.array([3], dtype)
    limits = np.iinfo(dtype)
    return np.array([[limits.min, 0, limits.max], [1, 2, 3]], dtype), np.array([limits.max], dtype)
