"""Fused float operators of com.microsoft, which ONNX Runtime's optimizer writes, as standard ones."""

from typing import Any

import onnx

from faceter.graphs.lowering_context import LoweringContext, Replacement, Rule
from faceter.graphs.view import attribute

_ACTIVATIONS = frozenset({"HardSigmoid", "LeakyRelu", "Relu", "Sigmoid", "Tanh"})
_CONV = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")


def _fused_conv(context: LoweringContext, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
    """A convolution, a sum with another tensor if there is one, and an activation."""
    made = Replacement(context, node)
    result = made.add("Conv", *(name for name in node.input[:3] if name), **made.attributes(*_CONV))
    if made.input(3):
        result = made.add("Add", result, made.input(3))
    return _activated(made, result, attribute(node, "activation"), attribute(node, "activation_params", []))


def _fused_gemm(context: LoweringContext, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
    made = Replacement(context, node)
    inputs = [name for name in node.input if name]
    result = made.add("Gemm", *inputs, **made.attributes("alpha", "beta", "transA", "transB"))
    alpha = attribute(node, "activation_alpha")
    return _activated(made, result, attribute(node, "activation"), [] if alpha is None else [alpha])


def _activated(
    made: Replacement, result: str, activation: str | None, parameters: list[float]
) -> list[onnx.NodeProto] | None:
    if not activation:
        return made.finish(result)
    if activation == "Clip" and len(parameters) == 2:
        return made.finish(made.add("Clip", result, *(made.constant(value) for value in parameters)))
    if activation not in _ACTIVATIONS:
        return None
    attributes: dict[str, Any] = dict(zip(("alpha", "beta"), parameters, strict=False))
    return made.finish(made.add(activation, result, **attributes))


def _fused_matmul(context: LoweringContext, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
    """Alpha · A · B, the last two axes of either swapped."""
    if attribute(node, "transBatchA", 0) or attribute(node, "transBatchB", 0):
        return None
    made = Replacement(context, node)
    sides = []
    for index, name in enumerate(("transA", "transB")):
        side = made.input(index)
        if attribute(node, name, 0):
            info = context.info(side)
            if info is None or info.shape is None or len(info.shape) < 2:
                return None
            rank = len(info.shape)
            side = made.add("Transpose", side, perm=[*range(rank - 2), rank - 1, rank - 2])
        sides.append(side)
    result = made.add("MatMul", *sides)
    alpha = attribute(node, "alpha", 1.0)
    return made.finish(result if alpha == 1.0 else made.add("Mul", result, made.constant(alpha)))


def _gelu(context: LoweringContext, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Gelu, x · Φ(x), of a sum with a bias if there is one, in operators that every opset has."""
    made = Replacement(context, node)
    x = made.add("Add", made.input(0), made.input(1)) if made.input(1) else made.input(0)
    if node.op_type == "FastGelu":
        cube = made.add("Mul", made.add("Mul", made.add("Mul", x, x), x), made.constant(0.044715))
        inner = made.add("Mul", made.add("Add", x, cube), made.constant(0.7978845608028654))
        part = made.add("Tanh", inner)
    else:
        part = made.add("Erf", made.add("Mul", x, made.constant(0.7071067811865476)))
    share = made.add("Mul", made.add("Add", part, made.constant(1.0)), made.constant(0.5))
    return made.finish(made.add("Mul", x, share))


def _quick_gelu(context: LoweringContext, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    made = Replacement(context, node)
    scaled = made.add("Mul", made.input(0), made.constant(attribute(node, "alpha", 1.702)))
    return made.finish(made.add("Mul", made.input(0), made.add("Sigmoid", scaled)))


def _skip_layer_norm(context: LoweringContext, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
    """Layer normalization of the sum of two tensors and a bias; the sum itself may be an output too."""
    if any(node.output[1:3]):
        return None
    made = Replacement(context, node)
    total = made.add("Add", made.input(0), made.input(1))
    if made.input(4):
        total = made.add("Add", total, made.input(4))
    inputs = [name for name in (made.input(2), made.input(3)) if name]
    epsilon = attribute(node, "epsilon", 1e-12)
    result = made.add("LayerNormalization", total, *inputs, axis=-1, epsilon=epsilon)
    if len(node.output) > 3 and node.output[3]:
        made.finish(total, 3)
    return made.finish(result)


RULES: dict[str, Rule] = {
    "BiasGelu": _gelu,
    "FastGelu": _gelu,
    "FusedConv": _fused_conv,
    "FusedGemm": _fused_gemm,
    "FusedMatMul": _fused_matmul,
    "Gelu": _gelu,
    "QuickGelu": _quick_gelu,
    "SkipLayerNormalization": _skip_layer_norm,
}
"""Rules by operator."""
