"""Trainable fake quantization: straight-through gradients for values, learned step sizes (LSQ) for scales.

References:
    Esser et al., "Learned Step Size Quantization", ICLR 2020, arXiv 1902.08153.
    Bengio et al., "Estimating or Propagating Gradients Through Stochastic Units", 2013, arXiv 1308.3432.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from faceter.graphs.quantizer import Quantizer
from workers.quantization.tuning.fused_kernels import (
    channel_rows,
    dense_like,
    fake_quantize,
    flatten_dense,
    kernels,
    lsq_elementwise_gradients,
    unflatten_dense,
)

_SMALLEST_STEP = float(np.finfo(np.float32).tiny)
_MAX_BIAS_CODE = float(2**30)


class _LSQFunction(torch.autograd.Function):
    """v̂ = S · clamp(round(v / S), low, high) (LSQ, equations 1 and 2) with its gradients.

    ∂v̂/∂v is 1 inside the clamp and 0 outside (straight-through). ∂v̂/∂S is round(v/S) − v/S inside, low or high outside
    (equation 3), times ``gradient_scale``, the paper's g. Codes are counted from the zero point.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Tensor, low: Tensor, high: Tensor, gradient_scale: Tensor) -> Tensor:
        ctx.save_for_backward(x, step, low, high, gradient_scale)
        if not step.ndim:
            return unflatten_dense(kernels.fake_quantize(flatten_dense(x.detach()), step.detach(), low, high), x)
        rows = channel_rows(x.detach(), step)
        if rows is None:
            return fake_quantize(x, step, low, high)
        return unflatten_dense(kernels.fake_quantize(rows, *map(_column, (step, low, high))).view(-1), x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, step, low, high, gradient_scale = (saved.detach() for saved in ctx.saved_tensors)
        grad = dense_like(grads[0], x)
        if not step.ndim:
            x_grad, step_grad = kernels.lsq_gradients(flatten_dense(grad), flatten_dense(x), step, low, high)
            return unflatten_dense(x_grad, x), step_grad * gradient_scale, None, None, None
        rows = channel_rows(x, step)
        if rows is None:
            x_grad, step_grads = lsq_elementwise_gradients(grad, x, step, low, high)
            return x_grad, _sum_to(step_grads, step) * gradient_scale, None, None, None
        x_grad, step_grad = kernels.lsq_row_gradients(
            flatten_dense(grad).view_as(rows), rows, *map(_column, (step, low, high))
        )
        return unflatten_dense(x_grad.view(-1), x), step_grad.reshape(step.shape) * gradient_scale, None, None, None


def _column(values: Tensor) -> Tensor:
    """Return one value per row as [R, 1]; a scalar unchanged."""
    values = values.detach()
    return values.reshape(-1, 1) if values.ndim else values


def _sum_to(values: Tensor, like: Tensor) -> Tensor:
    """Sum over the axes that ``like``, with one value per channel, is broadcast over."""
    return values.sum(dim=[axis for axis in range(values.ndim) if like.shape[axis] == 1], keepdim=True)


class LearnedQuantizer(nn.Module):
    """A quantizer with a trainable step S (LSQ); bits and zero point are fixed.

    The gradient of S is multiplied by g = 1 / √(M · max_code) (LSQ, section 2.2), M being the number of values that
    share one step.

    Attributes:
        step: S, [] or, per channel, with size 1 on all axes but the channels'.
        low: Smallest code minus the zero point, shaped as ``step`` or [].
        high: Largest code minus the zero point, likewise.
        max_code: The larger of the two in magnitude, over all channels, [].

    Args:
        quantizer: Initial scale, zero point and bits.
        rank: Number of axes of the quantized tensor; only needed for one step per channel.
        learned: Whether the step is trained; else gradients pass straight through to the values alone.
    """

    low: Tensor
    high: Tensor
    max_code: Tensor

    def __init__(self, quantizer: Quantizer, rank: int, *, learned: bool = True) -> None:
        super().__init__()
        self._start = quantizer
        shape = [1] * rank
        if quantizer.axis is not None:
            shape[quantizer.axis] = -1
        scale = torch.as_tensor(np.array(quantizer.scale, np.float32))
        self.step = nn.Parameter(scale.reshape(shape) if scale.ndim else scale, requires_grad=learned)
        for name, code in (("low", quantizer.qmin), ("high", quantizer.qmax)):
            bound = torch.as_tensor(np.asarray(code - quantizer.zero_point, np.float32))
            self.register_buffer(name, bound.reshape(shape) if bound.ndim else bound)
        max_code = torch.maximum(self.low.abs().max(), self.high.abs().max()).clamp_min(1.0)
        self.register_buffer("max_code", max_code)

    @property
    def positive_step(self) -> Tensor:
        """The step as it is used: at least the smallest normal float32."""
        return self.step.clamp_min(_SMALLEST_STEP)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` quantized and dequantized, in its own dtype."""
        step = self.positive_step
        gradient_scale = torch.rsqrt(self.max_code * (x.numel() / step.numel()))
        quantized: Tensor = _LSQFunction.apply(  # type: ignore[no-untyped-call]
            x, step, self.low, self.high, gradient_scale
        )
        return quantized

    def quantizer(self) -> Quantizer:
        """Return a quantizer with the current step."""
        shape = self._start.scale.shape
        scale = self.positive_step.detach().cpu().numpy().reshape(shape)
        zero_point = self._start.qmin - self.low.cpu().numpy().reshape(shape).astype(np.int32)
        return replace(self._start, scale=scale, zero_point=zero_point)


class _StraightThroughBias(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, bias: Tensor, step: Tensor) -> Tensor:
        codes = (bias.reshape(-1).double() / step.double()).round().clamp(-_MAX_BIAS_CODE, _MAX_BIAS_CODE)
        return (codes.float() * step).reshape(bias.shape).to(bias.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


def rounded_bias(bias: Tensor, source: LearnedQuantizer, weight: LearnedQuantizer) -> Tensor:
    """Return a bias as integer kernels add it: a multiple of S_x S_w, with straight-through gradients.

    At few bits S_x S_w is large, so that this rounding changes every layer's output (Jacob et al., CVPR 2018,
    arXiv 1712.05877, section 2.4).

    Args:
        bias: [C], or any shape of C values.
        source: Quantizer of the layer's input, with one step S_x.
        weight: Quantizer of the layer's weight, with one step S_w or C of them.
    """
    with torch.no_grad():
        step = source.positive_step.reshape(-1) * weight.positive_step.reshape(-1)
    rounded: Tensor = _StraightThroughBias.apply(bias, step)  # type: ignore[no-untyped-call]
    return rounded
