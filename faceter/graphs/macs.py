"""Multiply-accumulates of a node, from the shapes of its tensors."""

from collections.abc import Callable, Mapping
from math import prod

import onnx

from faceter.graphs.shapes import TensorInfo
from faceter.graphs.view import attribute

Shapes = Mapping[str, TensorInfo]


def multiply_accumulates(node: onnx.NodeProto, shapes: Shapes) -> int | None:
    """Return the multiply-accumulates of a node; None if a size it depends on is unknown.

    Convolutions, matrix products and recurrent cells count; all other operators have 0.
    """
    count = _COUNTS.get(node.op_type)
    return 0 if count is None else count(node, shapes)


def _size(shapes: Shapes, name: str) -> tuple[int, ...] | None:
    info = shapes.get(name)
    return None if info is None else info.static


def _conv(weight: int) -> Callable[[onnx.NodeProto, Shapes], int | None]:
    def count(node: onnx.NodeProto, shapes: Shapes) -> int | None:
        out, kernel = _size(shapes, node.output[0]), _size(shapes, node.input[weight])
        return None if out is None or kernel is None else prod(out) * prod(kernel[1:])

    return count


def _conv_transpose(node: onnx.NodeProto, shapes: Shapes) -> int | None:
    source, kernel = _size(shapes, node.input[0]), _size(shapes, node.input[1])
    return None if source is None or kernel is None else prod(source) * prod(kernel[1:])


def _gemm(node: onnx.NodeProto, shapes: Shapes) -> int | None:
    out, left = _size(shapes, node.output[0]), _size(shapes, node.input[0])
    if out is None or left is None:
        return None
    return prod(out) * left[0 if attribute(node, "transA", 0) else 1]


def _matmul(node: onnx.NodeProto, shapes: Shapes) -> int | None:
    out, left = _size(shapes, node.output[0]), _size(shapes, node.input[0])
    return None if out is None or not left else prod(out) * left[-1]


def _einsum(node: onnx.NodeProto, shapes: Shapes) -> int | None:
    terms = str(attribute(node, "equation", "")).replace(" ", "").split("->")[0].split(",")
    sizes: dict[str, int] = {}
    for term, name in zip(terms, node.input, strict=False):
        shape = _size(shapes, name)
        if shape is None or len(shape) != len(term):
            return None
        sizes.update(zip(term, shape, strict=True))
    return prod(sizes.values())


def _recurrent(node: onnx.NodeProto, shapes: Shapes) -> int | None:
    source, inner, recurrent = (_size(shapes, node.input[index]) for index in range(3))
    if source is None or inner is None or recurrent is None:
        return None
    return prod(source[:2]) * (prod(inner) + prod(recurrent))


_COUNTS: dict[str, Callable[[onnx.NodeProto, Shapes], int | None]] = {
    "Conv": _conv(1),
    "ConvInteger": _conv(1),
    "QLinearConv": _conv(3),
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "QLinearMatMul": _matmul,
    "Einsum": _einsum,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
}
