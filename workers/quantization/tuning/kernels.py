"""The inner loops of tuning and of synthesis: one pass over memory each where a compiler is to be had.

Rounding, clamping and their gradients are some fifteen passes over every activation when written in torch's operators,
and the moments of channels another ten: more than all convolutions take. Compiled they are one each. What is computed
is the same.
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

_VARIANTS = 64


def quantize(x: Tensor, step: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Return S · clamp(round(x / S), low, high), computed in float32, in the dtype of ``x``.

    Args:
        x: Values of any shape.
        step: S, float32, of a shape that broadcasts against ``x``.
        low: Smallest code, counted from the code of zero; as ``step``.
        high: Largest code, likewise.
    """
    codes = (x.float() / step).round().clamp(low, high)
    return (codes * step).to(x.dtype)


def gradients(grad: Tensor, x: Tensor, step: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradient for ``x``, and the products whose sum is the gradient for one step S, as a sum.

    Args:
        grad: Gradient of what :func:`quantize` returned.
        x: What it was given.
        step: S, as there, one number.
        low: Smallest code, as there.
        high: Largest code, as there.
    """
    passed, products = gradient_parts(grad, x, step, low, high)
    return passed, products.sum()


def gradient_parts(grad: Tensor, x: Tensor, step: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradient for ``x`` and, elementwise in float32, that for S: LSQ's equation 3."""
    codes = x.float() / step
    clamped = codes.clamp(low, high)
    inside = clamped == codes
    wide = grad.float()
    return (wide * inside).to(grad.dtype), wide * (clamped.round() - torch.where(inside, codes, 0.0))


def row_gradients(grad: Tensor, x: Tensor, step: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Do as :func:`gradients` for ``x`` [R, M] with a step for each row, [R, 1]; returns the sums as [R, 1]."""
    passed, products = gradient_parts(grad, x, step, low, high)
    return passed, products.sum(1, keepdim=True)


def squares(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Return Σ (q − p)² and Σ p² over two tensors of one shape, both float32 []."""
    given, wanted = student.float(), teacher.float()
    return (given - wanted).square().sum(), wanted.square().sum()


def difference(student: Tensor, teacher: Tensor, factor: Tensor) -> Tensor:
    """Return (q − p) · factor for two tensors of one shape and float32 [], in the dtype of ``student``."""
    return ((student.float() - teacher.float()) * factor).to(student.dtype)


def channel_sums(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum and the sum of squares of every column of ``x`` [M, C], each float32 [C]."""
    wide = x.float()
    return wide.sum(0), wide.square().sum(0)


def scaled(x: Tensor, factor: Tensor, shift: Tensor) -> Tensor:
    """Return x · factor + shift for ``x`` [M, C] and float32 [C], in the dtype of ``x``."""
    return (x.float() * factor + shift).to(x.dtype)


@dataclass
class Kernels:
    """The functions in use; :func:`compiled` puts others in their place."""

    quantize: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor] = quantize
    gradients: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]] = gradients
    row_gradients: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]] = row_gradients
    squares: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] = squares
    difference: Callable[[Tensor, Tensor, Tensor], Tensor] = difference
    channel_sums: Callable[[Tensor], tuple[Tensor, Tensor]] = channel_sums
    scaled: Callable[[Tensor, Tensor, Tensor], Tensor] = scaled


kernels = Kernels()


def flat(x: Tensor) -> Tensor:
    """Return the values of a dense tensor as one axis, in the order they lie in memory; a view."""
    if x.ndim == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last):
        return x.permute(0, 2, 3, 1).reshape(-1)
    return x.reshape(-1)


def rows(x: Tensor, like: Tensor) -> Tensor | None:
    """Return ``x`` as [R, M] where ``like`` has one number for each of R entries of the first axis, a view; else None.

    Values lie in a row as they lie in memory.
    """
    if x.ndim < 2 or like.ndim != x.ndim or like.numel() != len(x) or like.shape[0] != len(x):
        return None
    return flat(x).view(len(x), -1)


def shaped(values: Tensor, like: Tensor) -> Tensor:
    """Undo :func:`flat` for a tensor that lay in memory as ``like`` does."""
    if like.ndim == 4 and not like.is_contiguous() and like.is_contiguous(memory_format=torch.channels_last):
        n, c, h, w = like.shape
        return values.view(n, h, w, c).permute(0, 3, 1, 2)
    return values.view(like.shape)


def dense_like(x: Tensor, like: Tensor) -> Tensor:
    """Return ``x`` lying in memory as ``like`` does."""
    if like.ndim == 4 and not like.is_contiguous() and like.is_contiguous(memory_format=torch.channels_last):
        return x.contiguous(memory_format=torch.channels_last)
    return x.contiguous()


@contextmanager
def compiled(wanted: bool, device: torch.device) -> Iterator[bool]:
    """Run the block with compiled kernels if wanted and possible; yields whether they are.

    Args:
        wanted: Whether the work is long enough to be worth the seconds that compiling takes.
        device: Where the work is done.
    """
    if not wanted or (device.type == "cpu" and compiler() is None):
        yield False
        return
    before = vars(kernels).copy()
    try:
        with torch._dynamo.config.patch(recompile_limit=_VARIANTS):
            for name, function in before.items():
                setattr(kernels, name, torch.compile(function, dynamic=True))
            _try_out(device)
    except Exception as error:  # whatever a host's compiler may do, the work goes on without it
        _log.warning("kernels were not compiled, and the work goes on without: %s", error)
        vars(kernels).update(before)
    try:
        with torch._dynamo.config.patch(recompile_limit=_VARIANTS):
            yield kernels.quantize is not before["quantize"]
    finally:
        vars(kernels).update(before)


def _try_out(device: torch.device) -> None:
    step, low, high = (torch.tensor(value, device=device) for value in (0.1, 0.0, 15.0))
    x = torch.ones(96, device=device)
    kernels.gradients(kernels.quantize(x, step, low, high), x, step, low, high)
    rows = x.view(24, 4)
    kernels.row_gradients(rows, rows, *(value.expand(24, 1) for value in (step, low, high)))
    kernels.difference(x, x, kernels.squares(x, x)[0])
    kernels.scaled(rows, *kernels.channel_sums(rows))
