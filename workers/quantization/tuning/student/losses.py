"""Distillation losses: the distance of the quantized network Q from the float network P, for outputs of any kind.

References:
    Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015, arXiv 1503.02531.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from workers.quantization.tuning.fused_kernels import (
    dense_like,
    error_and_power,
    flatten_dense,
    kernels,
    unflatten_dense,
)
from workers.quantization.tuning.student.heads import Heads

_TINY = 1e-12

Outputs = Mapping[str, Tensor]

Mean = Callable[[Tensor], Tensor]
"""Makes of the mean of a part of a batch, a scalar without gradients, that of the whole batch."""


def _of_the_part(value: Tensor) -> Tensor:
    return value


def kl_divergence(teacher: Tensor, student: Tensor) -> Tensor:
    """Return KL(softmax(P) ‖ softmax(Q)), the mean over all but the last axis, float32 [].

    Args:
        teacher: Logits of P, [N, K] or [N, …, K].
        student: Logits of Q, likewise.
    """
    log_p, log_q = (functional.log_softmax(scores.float(), -1).flatten(0, -2) for scores in (teacher, student))
    return functional.kl_div(log_q, log_p, log_target=True, reduction="batchmean")


def relative_error(teacher: Tensor, student: Tensor, mean: Mean = _of_the_part) -> Tensor:
    """Return ‖Q − P‖² / ‖P‖² over a whole batch, float32 [].

    Args:
        teacher: Outputs of P.
        student: Outputs of Q.
        mean: Where they are a part of the batch: ‖P‖² is then that of the whole, and the mean of the parts' errors is
            the error of the whole.
    """
    if teacher.requires_grad:
        error, power = error_and_power(student, teacher)
    else:
        error, power = _SquaredSums.apply(student, teacher)  # type: ignore[no-untyped-call]
    count: int = student.numel()
    return (error / count) / mean(power / count).clamp_min(_TINY)


class _SquaredSums(torch.autograd.Function):
    """Σ (q − p)² with its gradient for q, 2 (q − p), and Σ p², in one pass over memory each way."""

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        teacher = dense_like(teacher, student)
        ctx.save_for_backward(student, teacher)
        error, power = kernels.error_and_power(flatten_dense(student.detach()), flatten_dense(teacher))
        ctx.mark_non_differentiable(power)
        return error, power

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        student, teacher = (saved.detach() for saved in ctx.saved_tensors)
        gradient = kernels.scaled_difference(flatten_dense(student), flatten_dense(teacher), 2 * grads[0])
        return unflatten_dense(gradient, student), None


def output_divergence(heads: Heads, teacher: Outputs, student: Outputs, mean: Mean = _of_the_part) -> Tensor:
    """Return the mean over heads: KL divergence of logits, relative squared error of others, float32 [].

    Args:
        mean: See :func:`relative_error`.
    """
    divergences = [relative_error(teacher[name], student[name], mean) for name in heads.others]
    if heads.logits is not None:
        divergences.append(kl_divergence(teacher[heads.logits], student[heads.logits]))
    return torch.stack(divergences).mean()


def feature_divergence(tensors: Sequence[str], teacher: Outputs, student: Outputs, mean: Mean = _of_the_part) -> Tensor:
    """Return the mean over tensors of the relative squared error, float32 []; 0 without tensors.

    Args:
        mean: See :func:`relative_error`.
    """
    if not tensors:
        return torch.zeros(())
    return torch.stack([relative_error(teacher[name], student[name], mean) for name in tensors]).mean()


def agreement(heads: Heads, teacher: Outputs, student: Outputs) -> float:
    """Return the share of samples with equal top-1 classes or, without logits, 1 − ‖Q − P‖ / ‖P‖, at least 0.

    The latter is a mean over heads; a head with NaN counts 0.
    """
    if heads.logits is not None:
        same = teacher[heads.logits].argmax(-1) == student[heads.logits].argmax(-1)
        return float(same.float().mean())
    errors = torch.stack([relative_error(teacher[name], student[name]) for name in heads.others]).sqrt()
    return float((1 - errors.nan_to_num(nan=torch.inf)).clamp_min(0).mean())
