"""Elementwise and reduction kernels of tuning and synthesis, fused by torch.compile where a compiler is available.

Fake quantization with its gradients takes about fifteen passes over every activation in eager torch, and the moments of
channels another ten: more time than all convolutions. Compiled they take one pass each. Results are the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from workers.host import compiler

_log = logging.getLogger("faceter.worker")

_RECOMPILE_LIMIT = 64


def fake_quantize(x: Tensor, step: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Return S · clamp(round(x / S), low, high), computed in float32, in the dtype of ``x``.

    Args:
        x: Values of any shape.
        step: S, float32, of a shape that broadcasts against ``x``.
        low: Smallest code minus the zero point, shaped as ``step``.
        high: Largest code minus the zero point, shaped as ``step``.
    """
    codes = (x.float() / step).round().clamp(low, high)
    return (codes * step).to(x.dtype)


def lsq_gradients(grad: Tensor, x: Tensor, step: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of :func:`fake_quantize` for ``x`` and for one step S, float32 [].

    Args:
        grad: Gradient of the output, shaped as ``x``.
        step: S, [].
    """
    x_grad, step_grads = lsq_elementwise_gradients(grad, x, step, low, high)
    return x_grad, step_grads.sum()


def lsq_elementwise_gradients(
    grad: Tensor, x: Tensor, step: Tensor, low: Tensor, high: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the gradient for ``x`` and each value's share of the gradient for S, float32 (LSQ, equation 3)."""
    codes = x.float() / step
    clamped = codes.clamp(low, high)
    inside = clamped == codes
    grad32 = grad.float()
    return (grad32 * inside).to(grad.dtype), grad32 * (clamped.round() - torch.where(inside, codes, 0.0))


def lsq_row_gradients(grad: Tensor, x: Tensor, step: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Return what :func:`lsq_gradients` does for ``x`` [R, M] with one step per row; all of them are [R, 1]."""
    x_grad, step_grads = lsq_elementwise_gradients(grad, x, step, low, high)
    return x_grad, step_grads.sum(1, keepdim=True)


def error_and_power(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Return Σ (q − p)² and Σ p² over two tensors of one shape, both float32 []."""
    q, p = student.float(), teacher.float()
    return (q - p).square().sum(), p.square().sum()


def scaled_difference(student: Tensor, teacher: Tensor, factor: Tensor) -> Tensor:
    """Return (q − p) · factor for two tensors of one shape and float32 [], in the dtype of ``student``."""
    return ((student.float() - teacher.float()) * factor).to(student.dtype)


def channel_sums(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum and the sum of squares of every column of ``x`` [M, C], each float32 [C]."""
    x32 = x.float()
    return x32.sum(0), x32.square().sum(0)


def scale_and_shift(x: Tensor, factor: Tensor, shift: Tensor) -> Tensor:
    """Return x · factor + shift for ``x`` [M, C] and float32 [C], in the dtype of ``x``."""
    return (x.float() * factor + shift).to(x.dtype)


@dataclass
class Kernels:
    """The functions in use; :func:`compiled_kernels` replaces them by compiled ones."""

    fake_quantize: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor] = fake_quantize
    lsq_gradients: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]] = lsq_gradients
    lsq_row_gradients: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]] = lsq_row_gradients
    error_and_power: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] = error_and_power
    scaled_difference: Callable[[Tensor, Tensor, Tensor], Tensor] = scaled_difference
    channel_sums: Callable[[Tensor], tuple[Tensor, Tensor]] = channel_sums
    scale_and_shift: Callable[[Tensor, Tensor, Tensor], Tensor] = scale_and_shift


kernels = Kernels()


def flatten_dense(x: Tensor) -> Tensor:
    """Return the values of a dense tensor as one axis in memory order; a view, also of channels-last tensors."""
    if x.ndim == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last):
        return x.permute(0, 2, 3, 1).reshape(-1)
    return x.reshape(-1)


def unflatten_dense(values: Tensor, like: Tensor) -> Tensor:
    """Invert :func:`flatten_dense` for a tensor with the shape and memory format of ``like``."""
    if like.ndim == 4 and not like.is_contiguous() and like.is_contiguous(memory_format=torch.channels_last):
        n, c, h, w = like.shape
        return values.view(n, h, w, c).permute(0, 3, 1, 2)
    return values.view(like.shape)


def channel_rows(x: Tensor, step: Tensor) -> Tensor | None:
    """Return ``x`` as a view [R, M] if ``step`` has one value for each of the R entries of axis 0, else None.

    Values of a row are in memory order.
    """
    if x.ndim < 2 or step.ndim != x.ndim or step.numel() != len(x) or step.shape[0] != len(x):
        return None
    return flatten_dense(x).view(len(x), -1)


def dense_like(x: Tensor, like: Tensor) -> Tensor:
    """Return ``x`` in the memory format of ``like``."""
    if like.ndim == 4 and not like.is_contiguous() and like.is_contiguous(memory_format=torch.channels_last):
        return x.contiguous(memory_format=torch.channels_last)
    return x.contiguous()


@contextmanager
def compiled_kernels(enabled: bool, device: torch.device) -> Iterator[bool]:
    """Run the block with compiled kernels if enabled and possible; yields whether they are compiled.

    Args:
        enabled: Whether the run is long enough to repay the seconds that compiling takes.
    """
    if not enabled or (device.type == "cpu" and compiler() is None):
        yield False
        return
    before = vars(kernels).copy()
    try:
        with torch._dynamo.config.patch(recompile_limit=_RECOMPILE_LIMIT):
            for name, function in before.items():
                setattr(kernels, name, torch.compile(function, dynamic=True))
            _smoke_test(device)
    except Exception as error:  # a host's compiler may fail in any way; the eager functions remain
        _log.warning("kernels were not compiled; the run continues with eager ones: %s", error)
        vars(kernels).update(before)
    try:
        with torch._dynamo.config.patch(recompile_limit=_RECOMPILE_LIMIT):
            yield kernels.fake_quantize is not before["fake_quantize"]
    finally:
        vars(kernels).update(before)


def _smoke_test(device: torch.device) -> None:
    step, low, high = (torch.tensor(value, device=device) for value in (0.1, 0.0, 15.0))
    x = torch.ones(96, device=device)
    kernels.lsq_gradients(kernels.fake_quantize(x, step, low, high), x, step, low, high)
    rows = x.view(24, 4)
    kernels.lsq_row_gradients(rows, rows, *(value.expand(24, 1) for value in (step, low, high)))
    kernels.scaled_difference(x, x, kernels.error_and_power(x, x)[0])
    kernels.scale_and_shift(rows, *kernels.channel_sums(rows))
