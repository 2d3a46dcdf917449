"""Quantized operators of com.microsoft as standard ones between DequantizeLinear and QuantizeLinear."""

from typing import Any

import numpy as np
import onnx

from faceter.graphs.lowering_context import LoweringContext, Replacement, Rule
from faceter.graphs.view import Array, attribute

_POOL = ("auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides")


def _dequantized(made: Replacement, first: int, **attributes: Any) -> str:
    """Add the DequantizeLinear of the three inputs from ``first`` on: codes, scale, zero point."""
    inputs = [made.input(first + offset) for offset in range(3)]
    return made.add("DequantizeLinear", *(inputs if inputs[2] else inputs[:2]), **attributes)


def _quantized(made: Replacement, value: str, first: int) -> list[onnx.NodeProto]:
    """Finish with the QuantizeLinear by the two inputs from ``first`` on: scale, zero point."""
    inputs = [made.input(first), made.input(first + 1)]
    return made.finish(made.add("QuantizeLinear", value, *(inputs if inputs[1] else inputs[:1])))


def _same(context: LoweringContext, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """The standard operator of the same name."""
    made = Replacement(context, node)
    return made.finish(made.add(node.op_type, *node.input, **made.attributes("axis", "block_size")))


def _binary(context: LoweringContext, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    made = Replacement(context, node)
    sides = [_dequantized(made, 0), _dequantized(made, 3)]
    return _quantized(made, made.add(node.op_type.removeprefix("QLinear"), *sides), 6)


def _unary(context: LoweringContext, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
    if attribute(node, "channels_last", 0):
        return None
    made = Replacement(context, node)
    attributes = made.attributes("alpha", "axis", *_POOL)
    return _quantized(made, made.add(node.op_type.removeprefix("QLinear"), _dequantized(made, 0), **attributes), 3)


def _concat(context: LoweringContext, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    made = Replacement(context, node)
    parts = [_dequantized(made, first) for first in range(2, len(node.input), 3)]
    return _quantized(made, made.add("Concat", *parts, axis=attribute(node, "axis")), 0)


def _where(context: LoweringContext, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    made = Replacement(context, node)
    sides = [_dequantized(made, 1), _dequantized(made, 4)]
    return _quantized(made, made.add("Where", made.input(0), *sides), 7)


def _gemm(context: LoweringContext, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Alpha · A · B + C, where C is int32 in steps of alpha · the scales of A and B."""
    made = Replacement(context, node)
    turned = attribute(node, "transB", 0)
    sides = [_dequantized(made, 0), _dequantized(made, 3, axis=0 if turned else 1)]
    alpha = attribute(node, "alpha", 1.0)
    if made.input(6):
        step = made.add("Mul", made.add("Mul", made.input(1), made.input(4)), made.constant(alpha))
        sums = made.add("Cast", made.input(6), to=onnx.TensorProto.FLOAT)
        sides.append(made.add("Mul", sums, step))
    attributes = {**made.attributes("transA", "transB"), "alpha": alpha}
    result = made.add("Gemm", *sides, **attributes)
    return _quantized(made, result, 7) if made.input(7) else made.finish(result)


def _integer_to_float(context: LoweringContext, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    made = Replacement(context, node)
    sides = []
    for side, axis in ((0, -2), (1, -1)):
        names = [made.input(side), made.input(2 + side), made.input(4 + side)]
        sides.append(made.add("DequantizeLinear", *(names if names[2] else names[:2]), axis=axis))
    result = made.add("MatMul", *sides)
    return made.finish(made.add("Add", result, made.input(6)) if made.input(6) else result)


def _dynamic_matmul(context: LoweringContext, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    made = Replacement(context, node)
    view = context.view
    codes, scale, zero = (view.unique(f"{node.output[0]}/{part}") for part in ("codes", "scale", "zero"))
    made.nodes.append(onnx.helper.make_node("DynamicQuantizeLinear", [made.input(0)], [codes, scale, zero], node.name))
    a = made.add("DequantizeLinear", codes, scale, zero)
    names = [made.input(1), made.input(2), made.input(3)]
    b = made.add("DequantizeLinear", *(names if names[2] else names[:2]), axis=-1)
    result = made.add("MatMul", a, b)
    return made.finish(made.add("Add", result, made.input(4)) if made.input(4) else result)


def _matmul_nbits(context: LoweringContext, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
    """A · W, with W [K, N] unpacked: codes of a column in blocks, each with a scale and a zero point of its own."""
    made = Replacement(context, node)
    view = context.view
    packed, scales = view.constant(made.input(1)), view.constant(made.input(2))
    bits, block = int(attribute(node, "bits", 4)), int(attribute(node, "block_size"))
    rows, columns = int(attribute(node, "K")), int(attribute(node, "N"))
    if packed is None or scales is None or bits not in (2, 4, 8) or made.input(4):
        return None
    blocks = -(-rows // block)
    codes = _unpacked(packed.reshape(columns, -1), bits)[:, : blocks * block].reshape(columns, blocks, block)
    zeros = np.full((columns, blocks), 2.0 ** (bits - 1), np.float32)
    if made.input(3):
        given = view.constant(made.input(3))
        if given is None:
            return None
        stored = given if given.dtype.kind == "f" else _unpacked(given.reshape(columns, -1), bits)
        zeros = stored.reshape(columns, -1)[:, :blocks].astype(np.float32)
    steps = scales.astype(np.float32).reshape(columns, blocks)
    weight = ((codes - zeros[..., None]) * steps[..., None]).reshape(columns, -1)[:, :rows]
    result = made.add("MatMul", made.input(0), made.constant(np.ascontiguousarray(weight.T)))
    return made.finish(made.add("Add", result, made.input(5)) if made.input(5) else result)


def _unpacked(packed: Array, bits: int) -> Array:
    """Return the codes in bytes, lowest bits first, as float32 along the last axis."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    codes = (packed.astype(np.uint8)[..., None] >> shifts) & ((1 << bits) - 1)
    return codes.reshape(*packed.shape[:-1], -1).astype(np.float32)


RULES: dict[str, Rule] = {
    "DequantizeLinear": _same,
    "DynamicQuantizeMatMul": _dynamic_matmul,
    "MatMulIntegerToFloat": _integer_to_float,
    "MatMulNBits": _matmul_nbits,
    "QGemm": _gemm,
    "QLinearAdd": _binary,
    "QLinearAveragePool": _unary,
    "QLinearConcat": _concat,
    "QLinearGlobalAveragePool": _unary,
    "QLinearLeakyRelu": _unary,
    "QLinearMul": _binary,
    "QLinearSigmoid": _unary,
    "QLinearSoftmax": _unary,
    "QLinearWhere": _where,
    "QuantizeLinear": _same,
}
"""Rules by operator."""
