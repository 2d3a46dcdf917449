"""Mean and variance of channels with a gradient, in two passes over memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from workers.quantization.tuning.fused_kernels import kernels


class _ChannelMoments(torch.autograd.Function):
    """μ = Σ x / M and σ² = Σ x² / M − μ², with ∂μ/∂x = 1/M and ∂σ²/∂x = 2 (x − μ) / M."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> tuple[Tensor, Tensor]:
        total, squares = kernels.channel_sums(rows.detach())
        mean = total / len(rows)
        ctx.save_for_backward(rows, mean)
        return mean, (squares / len(rows) - mean.square()).clamp_min(0.0)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        rows, mean = (saved.detach() for saved in ctx.saved_tensors)
        factor = 2 * grads[1] / len(rows)
        return kernels.scale_and_shift(rows, factor, grads[0] / len(rows) - factor * mean)


def channel_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and biased variance (divisor M) of every channel, each float32 [C].

    Args:
        x: [N, C, …], any float dtype.
    """
    rows = x.movedim(1, -1)
    moments: tuple[Tensor, Tensor] = _ChannelMoments.apply(  # type: ignore[no-untyped-call]
        rows.reshape(-1, x.shape[1])
    )
    return moments
