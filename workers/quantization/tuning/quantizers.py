"""Fake quantization that can be trained: straight-through for values, learned steps (LSQ) for scales.

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
from workers.quantization.tuning.kernels import dense_like, flat, gradient_parts, kernels, quantize, rows, shaped

_SMALLEST_STEP = float(np.finfo(np.float32).tiny)
_MOST_CODES = float(2**30)


class _LearnedStep(torch.autograd.Function):
    """v̂ = S · clamp(round(v / S), low, high), with codes counted from the code of zero, and the gradients of LSQ.

    ∂v̂/∂v is 1 inside the clamp and 0 outside. ∂v̂/∂S is round(v/S) − v/S inside, low or high outside, and is
    multiplied by ``pull``, the paper's g.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Tensor, low: Tensor, high: Tensor, pull: Tensor) -> Tensor:
        ctx.save_for_backward(x, step, low, high, pull)
        if not step.ndim:
            return shaped(kernels.quantize(flat(x.detach()), step.detach(), low, high), x)
        lines = rows(x.detach(), step)
        if lines is None:
            return quantize(x, step, low, high)
        return shaped(kernels.quantize(lines, *map(_column, (step, low, high))).view(-1), x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, step, low, high, pull = (saved.detach() for saved in ctx.saved_tensors)
        grad = dense_like(grads[0], x)
        if not step.ndim:
            passed, total = kernels.gradients(flat(grad), flat(x), step, low, high)
            return shaped(passed, x), total * pull, None, None, None
        lines = rows(x, step)
        if lines is None:
            passed, products = gradient_parts(grad, x, step, low, high)
            return passed, _sum_to(products, step) * pull, None, None, None
        passed, total = kernels.row_gradients(flat(grad).view_as(lines), lines, *map(_column, (step, low, high)))
        return shaped(passed.view(-1), x), total.reshape(step.shape) * pull, None, None, None


def _column(values: Tensor) -> Tensor:
    """Return one number per row as [R, 1]; a single number as it is."""
    values = values.detach()
    return values.reshape(-1, 1) if values.ndim else values


def _sum_to(values: Tensor, like: Tensor) -> Tensor:
    """Sum over the axes that ``like``, with one number per channel, has been spread over."""
    return values.sum(dim=[axis for axis in range(values.ndim) if like.shape[axis] == 1], keepdim=True)


class LearnedQuantizer(nn.Module):
    """A quantizer whose step S can be trained; its bits and its zero point stay.

    The gradient of S is multiplied by g = 1 / √(M · reach), M being the number of values that share one step.

    Attributes:
        step: S, [] or spread over the channels' axis.
        low: Smallest code, counted from the code of zero.
        high: Largest code, likewise.
        reach: The larger of the two in magnitude, over all channels.

    Args:
        quantizer: Where it starts.
        rank: Number of axes of what it quantizes.
        learned: Whether the step is trained (LSQ); else gradients pass straight through to the values alone.
    """

    low: Tensor
    high: Tensor
    reach: Tensor

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
        reach = torch.maximum(self.low.abs().max(), self.high.abs().max()).clamp_min(1.0)
        self.register_buffer("reach", reach)

    @property
    def size(self) -> Tensor:
        """The step as it is used: kept from falling to 0."""
        return self.step.clamp_min(_SMALLEST_STEP)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` quantized and dequantized, in its own dtype."""
        step = self.size
        pull = torch.rsqrt(self.reach * (x.numel() / step.numel()))
        made: Tensor = _LearnedStep.apply(x, step, self.low, self.high, pull)  # type: ignore[no-untyped-call]
        return made

    def quantizer(self) -> Quantizer:
        """Return the quantizer as it stands now."""
        shape = self._start.scale.shape
        scale = self.size.detach().cpu().numpy().reshape(shape)
        zero_point = self._start.qmin - self.low.cpu().numpy().reshape(shape).astype(np.int32)
        return replace(self._start, scale=scale, zero_point=zero_point)


class _RoundedBias(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, bias: Tensor, step: Tensor) -> Tensor:
        codes = (bias.reshape(-1).double() / step.double()).round().clamp(-_MOST_CODES, _MOST_CODES)
        return (codes.float() * step).reshape(bias.shape).to(bias.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


def rounded_bias(bias: Tensor, source: LearnedQuantizer, weight: LearnedQuantizer) -> Tensor:
    """Return a bias as an integer kernel adds it: rounded to a multiple of S_x S_w, gradients straight through.

    With few bits those products are large, and this is felt in every layer.

    Args:
        bias: [C], or any shape of C values.
        source: The quantizer of what the layer takes, with one step S_x.
        weight: The quantizer of its weight, with one step S_w or C of them.
    """
    with torch.no_grad():
        step = source.size.reshape(-1) * weight.size.reshape(-1)
    made: Tensor = _RoundedBias.apply(bias, step)  # type: ignore[no-untyped-call]
    return made
