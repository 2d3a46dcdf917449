"""Reductions, ArgMax and ArgMin, sorting and cumulative sums."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from workers.operators.node import Node, TorchOperator
from workers.operators.tensors import WIDE_UNSIGNED, widened
from workers.operators.windows import lowest

Reduction = Callable[[Tensor, tuple[int, ...], bool], Tensor]
"""``(x, axes, keepdims)``."""


def _reduced(node: Node, x: Tensor, axes: Tensor | None, function: Reduction) -> Tensor:
    """Reduce over axes from an input (attribute in older opsets). No axes: all, or none (noop_with_empty_axes)."""
    chosen = tuple(axes.reshape(-1).tolist()) if axes is not None else node.integers("axes")
    if not chosen and node.integer("noop_with_empty_axes"):
        return function(x.unsqueeze(0), (0,), False)
    if x.ndim == 0:
        return function(x.unsqueeze(0), (0,), False)
    return function(x, tuple(a % x.ndim for a in chosen) or tuple(range(x.ndim)), bool(node.integer("keepdims", 1)))


def _sum(x: Tensor, axes: tuple[int, ...], keepdims: bool) -> Tensor:
    return torch.sum(x, axes, keepdim=keepdims, dtype=None if x.is_floating_point() else x.dtype)


def _mean(x: Tensor, axes: tuple[int, ...], keepdims: bool) -> Tensor:
    if x.is_floating_point():
        return torch.mean(x, axes, keepdim=keepdims)
    count = math.prod(x.shape[axis] for axis in axes)
    return torch.div(_sum(x, axes, keepdims), count, rounding_mode="trunc").to(x.dtype)


def _product(x: Tensor, axes: tuple[int, ...], keepdims: bool) -> Tensor:
    for axis in sorted(axes, reverse=True):
        x = torch.prod(x, axis, keepdim=keepdims, dtype=None if x.is_floating_point() else x.dtype)
    return x


def _largest(x: Tensor, axes: tuple[int, ...], keepdims: bool) -> Tensor:
    if all(x.shape[axis] for axis in axes):
        return torch.amax(x, axes, keepdim=keepdims)
    worst = False if x.dtype == torch.bool else lowest(x.dtype)
    return torch.full_like(x.to(torch.int8).sum(axes, keepdim=keepdims), 0, dtype=x.dtype).fill_(worst)


def _smallest(x: Tensor, axes: tuple[int, ...], keepdims: bool) -> Tensor:
    if all(x.shape[axis] for axis in axes):
        return torch.amin(x, axes, keepdim=keepdims)
    if x.dtype == torch.bool:
        return torch.logical_not(_largest(x, axes, keepdims))
    best = float("inf") if x.is_floating_point() else torch.iinfo(x.dtype).max
    return torch.full_like(x.to(torch.int8).sum(axes, keepdim=keepdims), 0, dtype=x.dtype).fill_(best)


def _log_sum_exp(x: Tensor, axes: tuple[int, ...], keepdims: bool) -> Tensor:
    return torch.logsumexp(x if x.is_floating_point() else x.to(torch.float32), axes, keepdim=keepdims).to(x.dtype)


def reduce_sum(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Sum."""
    return _reduced(node, x, axes, _sum)


def reduce_mean(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Mean; truncated towards zero for integers."""
    return _reduced(node, x, axes, _mean)


def reduce_product(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Product."""
    return _reduced(node, x, axes, _product)


@widened
def reduce_max(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Maximum; the lowest value of the type for empty input."""
    return _reduced(node, x, axes, _largest)


@widened
def reduce_min(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Minimum; the highest value of the type for empty input."""
    return _reduced(node, x, axes, _smallest)


def reduce_l1(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Sum of absolute values."""
    return _reduced(node, x.abs(), axes, _sum)


def reduce_l2(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Square root of the sum of squares."""
    if x.is_floating_point():
        return _reduced(node, x, axes, lambda t, dims, keep: torch.linalg.vector_norm(t, 2, dims, keep))
    return _reduced(node, x.to(torch.float64).square(), axes, _sum).sqrt().to(x.dtype)


def reduce_sum_square(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Sum of squares."""
    return _reduced(node, x * x, axes, _sum)


def reduce_log_sum(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Logarithm of the sum."""
    return _reduced(node, x, axes, _sum).log().to(x.dtype)


def reduce_log_sum_exp(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Logarithm of the sum of exponentials."""
    return _reduced(node, x, axes, _log_sum_exp)


@widened
def arg_max(node: Node, x: Tensor) -> Tensor:
    """Index of the first maximum along an axis, or of the last."""
    return _position(node, x, torch.argmax)


@widened
def arg_min(node: Node, x: Tensor) -> Tensor:
    """Index of the first minimum along an axis, or of the last."""
    return _position(node, x, torch.argmin)


def _position(node: Node, x: Tensor, function: Callable[..., Tensor]) -> Tensor:
    axis, keepdims = node.integer("axis", 0), bool(node.integer("keepdims", 1))
    if not node.integer("select_last_index"):
        return function(x, dim=axis, keepdim=keepdims)
    return x.shape[axis] - 1 - function(x.flip(axis), dim=axis, keepdim=keepdims)


def cumulative_sum(node: Node, x: Tensor, axis: Tensor) -> Tensor:
    """Cumulative sum along an axis, inclusive or exclusive, from either end."""
    return _running(node, x, axis, torch.cumsum, 0)


def cumulative_product(node: Node, x: Tensor, axis: Tensor) -> Tensor:
    """Cumulative product along an axis, inclusive or exclusive, from either end."""
    return _running(node, x, axis, torch.cumprod, 1)


def _running(node: Node, x: Tensor, axis: Tensor, function: Callable[..., Tensor], neutral: int) -> Tensor:
    along = int(axis.reshape(()).item())
    y = x.flip(along) if node.integer("reverse") else x
    if node.integer("exclusive"):
        first = torch.full_like(y.narrow(along, 0, 1), neutral)
        y = torch.cat([first, y.narrow(along, 0, y.shape[along] - 1)], dim=along)
    y = function(y, along, dtype=None if x.is_floating_point() else x.dtype)
    return y.flip(along) if node.integer("reverse") else y


def top_k(node: Node, x: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """The k largest or smallest values along an axis and their indices; ties by index."""
    axis, largest = node.integer("axis", -1), bool(node.integer("largest", 1))
    wide = x.to(torch.int64) if x.dtype in WIDE_UNSIGNED else x
    values, indices = torch.sort(wide, dim=axis, descending=largest, stable=True)
    count = int(k.reshape(()).item())
    return values.narrow(axis, 0, count).to(x.dtype), indices.narrow(axis, 0, count)


OPERATORS = {
    "ReduceSum": TorchOperator(reduce_sum, cpu_inputs=(1,)),
    "ReduceMean": TorchOperator(reduce_mean, cpu_inputs=(1,)),
    "ReduceProd": TorchOperator(reduce_product, cpu_inputs=(1,)),
    "ReduceMax": TorchOperator(reduce_max, cpu_inputs=(1,)),
    "ReduceMin": TorchOperator(reduce_min, cpu_inputs=(1,)),
    "ReduceL1": TorchOperator(reduce_l1, cpu_inputs=(1,)),
    "ReduceL2": TorchOperator(reduce_l2, cpu_inputs=(1,)),
    "ReduceSumSquare": TorchOperator(reduce_sum_square, cpu_inputs=(1,)),
    "ReduceLogSum": TorchOperator(reduce_log_sum, cpu_inputs=(1,)),
    "ReduceLogSumExp": TorchOperator(reduce_log_sum_exp, cpu_inputs=(1,)),
    "ArgMax": TorchOperator(arg_max),
    "ArgMin": TorchOperator(arg_min),
    "CumSum": TorchOperator(cumulative_sum, cpu_inputs=(1,)),
    "CumProd": TorchOperator(cumulative_product, cpu_inputs=(1,)),
    "TopK": TorchOperator(top_k, cpu_inputs=(1,)),
}
