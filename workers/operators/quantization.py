"""Affine quantization, q = round(x / scale) + zero point, and products of codes."""

import torch
from onnx import TensorProto
from torch import Tensor

from workers.operators.casting import to_float8
from workers.operators.convolution import conv
from workers.operators.node import Node, TorchOperator
from workers.operators.tensors import INTEGER_RANGES, element_type_of, torch_dtype


def _along(node: Node, x: Tensor, setting: Tensor) -> Tensor:
    """Reshape a scale or zero point for broadcasting: per tensor, per axis or per block."""
    if setting.ndim == 0 or (setting.ndim == 1 and setting.numel() == 1):
        return setting.reshape(())
    axis = node.integer("axis", 1) % x.ndim
    block = node.integer("block_size")
    if block:
        return setting.repeat_interleave(block, dim=axis).narrow(axis, 0, x.shape[axis])
    if setting.ndim == 1:
        return setting.reshape(-1, *[1] * (x.ndim - 1 - axis))
    return setting


def quantize_linear(node: Node, x: Tensor, scale: Tensor, zero_point: Tensor | None = None) -> Tensor:
    """Codes of a float tensor: round(x / scale), ties to even, plus the zero point, clamped to the type."""
    if zero_point is not None:
        element_type = node.input_type(2) or element_type_of(zero_point.dtype)
    else:
        element_type = node.integer("output_dtype") or TensorProto.UINT8
    step = _along(node, x, scale)
    if element_type not in INTEGER_RANGES:
        return to_float8(x / step, torch_dtype(element_type), saturate=bool(node.integer("saturate", 1)))
    low, high = INTEGER_RANGES[element_type]
    codes = torch.round(x / step)
    if zero_point is not None:
        codes = codes + _along(node, x, zero_point).to(codes.dtype)
    return codes.clamp(low, high).to(torch_dtype(element_type))


def dequantize_linear(node: Node, x: Tensor, scale: Tensor, zero_point: Tensor | None = None) -> Tensor:
    """Dequantize: (code − zero point) · scale, in the scale's type."""
    step = _along(node, x, scale)
    if not x.is_floating_point():
        x = x.to(torch.int32)
        if zero_point is not None:
            x = x - _along(node, x, zero_point).to(torch.int32)
    return x.to(step.dtype) * step


def dynamic_quantize_linear(node: Node, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """uint8 codes, scale and zero point by the range of the tensor, widened to contain 0."""
    low = x.min().clamp(max=0)
    high = x.max().clamp(min=0)
    scale = (high - low) / 255
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)
    zero_point = torch.round(-low / scale).clamp(0, 255)
    codes = (torch.round(x / scale) + zero_point).clamp(0, 255).to(torch.uint8)
    return codes, scale, zero_point.to(torch.uint8)


def _centered(x: Tensor, zero_point: Tensor | None, axis: int) -> Tensor:
    """Return codes minus zero point as float64, in which sums of products of 8-bit codes are exact."""
    wide = x.to(torch.float64)
    if zero_point is None:
        return wide
    zero = zero_point.to(torch.float64)
    return wide - (zero if zero.ndim != 1 else zero.reshape([-1 if i == axis % x.ndim else 1 for i in range(x.ndim)]))


def conv_integer(
    node: Node, x: Tensor, weight: Tensor, x_zero: Tensor | None = None, weight_zero: Tensor | None = None
) -> Tensor:
    """Convolution of codes into int32."""
    return conv(node, _centered(x, x_zero, 1), _centered(weight, weight_zero, 0)).to(torch.int32)


def matmul_integer(
    node: Node, a: Tensor, b: Tensor, a_zero: Tensor | None = None, b_zero: Tensor | None = None
) -> Tensor:
    """Matrix product of codes into int32."""
    return torch.matmul(_centered(a, a_zero, -2), _centered(b, b_zero, -1)).to(torch.int32)


def qlinear_conv(
    node: Node,
    x: Tensor,
    x_scale: Tensor,
    x_zero: Tensor,
    weight: Tensor,
    weight_scale: Tensor,
    weight_zero: Tensor,
    y_scale: Tensor,
    y_zero: Tensor,
    bias: Tensor | None = None,
) -> Tensor:
    """Convolution of codes into codes; the bias is int32 in steps of x_scale · weight_scale."""
    sums = conv(
        node,
        _centered(x, x_zero, 1),
        _centered(weight, weight_zero, 0),
        None if bias is None else bias.to(torch.float64),
    )
    factor = (x_scale * weight_scale).to(torch.float64)
    factor = factor.reshape(-1, *[1] * (x.ndim - 2)) if factor.numel() > 1 else factor.reshape(())
    return _requantized(sums * factor, y_scale, y_zero)


def qlinear_matmul(
    node: Node,
    a: Tensor,
    a_scale: Tensor,
    a_zero: Tensor,
    b: Tensor,
    b_scale: Tensor,
    b_zero: Tensor,
    y_scale: Tensor,
    y_zero: Tensor,
) -> Tensor:
    """Matrix product of codes into codes."""
    sums = torch.matmul(_centered(a, a_zero, -2), _centered(b, b_zero, -1))
    rows = a_scale.reshape(-1, 1) if a_scale.ndim == 1 and a_scale.numel() > 1 else a_scale
    return _requantized(sums * rows.to(torch.float64) * b_scale.to(torch.float64), y_scale, y_zero)


def _requantized(values: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    info = torch.iinfo(zero_point.dtype)
    codes = torch.round(values / scale.to(torch.float64)) + zero_point.to(torch.float64)
    return codes.clamp(info.min, info.max).to(zero_point.dtype)


OPERATORS = {
    "QuantizeLinear": TorchOperator(quantize_linear, non_trainable=(1, 2)),
    "DequantizeLinear": TorchOperator(dequantize_linear, non_trainable=(1, 2)),
    "DynamicQuantizeLinear": TorchOperator(dynamic_quantize_linear),
    "ConvInteger": TorchOperator(conv_integer),
    "MatMulInteger": TorchOperator(matmul_integer),
    "QLinearConv": TorchOperator(qlinear_conv, non_trainable=(1, 4, 6)),
    "QLinearMatMul": TorchOperator(qlinear_matmul, non_trainable=(1, 4, 6)),
}
