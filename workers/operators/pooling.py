"""Pooling of any rank, with every attribute."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from workers.operators.node import Node, TorchOperator
from workers.operators.windows import Window, lowest, of_rank, pad, unfolded, window

_MAX_POOLS = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}
_AVERAGE_POOLS = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}


def max_pool(node: Node, x: Tensor) -> tuple[Tensor, Tensor | None]:
    """Maximum of each window, and its index in the flat input if that is used."""
    if not x.is_floating_point():
        values, indices = max_pool(node, x.to(torch.float64 if x.element_size() > 2 else torch.float32))
        return values.to(x.dtype), indices
    at = window(node, x.shape[2:], node.integers("kernel_shape"))
    padding: int | tuple[int, ...] = 0
    padded = x
    if at.symmetric and all(2 * p <= k for p, k in zip(at.begins, at.kernel, strict=True)):
        padding = at.begins
    else:
        ends = [end + extra for end, extra in zip(at.ends, at.extra, strict=True)]
        padded = pad(x, at.begins, ends, lowest(x.dtype))
    run = of_rank(node, _MAX_POOLS, x.ndim - 2)
    if not node.uses_output(1):
        return run(padded, at.kernel, at.strides, padding, at.dilations), None
    values, flat = run(padded, at.kernel, at.strides, padding, at.dilations, return_indices=True)
    return values, _positions(node, flat, x.shape, padded.shape[2:], (0,) * len(at.begins) if padding else at.begins)


def _positions(node: Node, flat: Tensor, shape: torch.Size, padded: torch.Size, begins: tuple[int, ...]) -> Tensor:
    """Convert indices in a padded plane to ONNX's indices in the flat tensor."""
    size = shape[2:]
    coordinates = []
    for axis in reversed(range(len(size))):
        coordinates.append(flat % padded[axis] - begins[axis])
        flat = flat // padded[axis]
    coordinates.reverse()
    column_major = node.integer("storage_order") == 1
    order = list(range(len(size)))
    index = torch.zeros_like(flat)
    for axis in reversed(order) if column_major else order:
        index = index * size[axis] + coordinates[axis]
    planes = torch.arange(shape[0] * shape[1], device=flat.device).reshape(*shape[:2], *[1] * len(size))
    return planes * math.prod(size) + index


def average_pool(node: Node, x: Tensor) -> Tensor:
    """Mean of each window, with or without its padding (``count_include_pad``)."""
    at = window(node, x.shape[2:], node.integers("kernel_shape"))
    counted = bool(node.integer("count_include_pad"))
    plain = max(at.dilations) == 1 and not any(at.extra) and len(at.kernel) in _AVERAGE_POOLS
    if plain and at.symmetric and all(2 * p <= k for p, k in zip(at.begins, at.kernel, strict=True)):
        return _AVERAGE_POOLS[len(at.kernel)](x, at.kernel, at.strides, at.begins, False, counted)
    inside = x.new_ones(1, 1, *x.shape[2:])
    inside = pad(inside, at.begins, at.ends, 1.0 if counted else 0.0)
    return _window_sums(pad(x, at.begins, at.ends), at) / _window_sums(inside, at)


def _window_sums(padded: Tensor, at: Window) -> Tensor:
    """Sum each window of a padded tensor; ``extra`` is added here."""
    rank = len(at.kernel)
    padded = pad(padded, (0,) * rank, at.extra)
    return unfolded(padded, at).sum(tuple(range(-rank, 0)))


def lp_pool(node: Node, x: Tensor) -> Tensor:
    """P-norm of each window."""
    p = node.integer("p", 2)
    at = window(node, x.shape[2:], node.integers("kernel_shape"))
    return _window_sums(pad(x.abs().pow(p), at.begins, at.ends), at).pow(1 / p)


def global_average_pool(node: Node, x: Tensor) -> Tensor:
    """Mean of each channel."""
    return x.mean(dim=tuple(range(2, x.ndim)), keepdim=True)


def global_max_pool(node: Node, x: Tensor) -> Tensor:
    """Maximum of each channel."""
    return x.amax(dim=tuple(range(2, x.ndim)), keepdim=True)


def global_lp_pool(node: Node, x: Tensor) -> Tensor:
    """P-norm of each channel."""
    norm: Tensor = torch.linalg.vector_norm(x, node.integer("p", 2), dim=tuple(range(2, x.ndim)), keepdim=True)
    return norm


def max_unpool(node: Node, x: Tensor, indices: Tensor, output_shape: Tensor | None = None) -> Tensor:
    """Values at the indices that a MaxPool returned; zero elsewhere."""
    rank = x.ndim - 2
    kernel = node.integers("kernel_shape")
    strides = node.integers("strides", (1,) * rank)
    pads = node.integers("pads", (0,) * (2 * rank))
    size = [
        (n - 1) * s - pads[i] - pads[i + rank] + k
        for i, (n, s, k) in enumerate(zip(x.shape[2:], strides, kernel, strict=True))
    ]
    own = [*x.shape[:2], *size]
    y = x.new_zeros(math.prod(own)).scatter(0, indices.reshape(-1), x.reshape(-1))
    if output_shape is None:
        return y.reshape(own)
    target = output_shape.tolist()
    return pad(y.reshape(own), [0] * rank, [w - n for w, n in zip(target[2:], size, strict=True)])


OPERATORS = {
    "MaxPool": TorchOperator(max_pool),
    "AveragePool": TorchOperator(average_pool),
    "LpPool": TorchOperator(lp_pool),
    "GlobalAveragePool": TorchOperator(global_average_pool),
    "GlobalMaxPool": TorchOperator(global_max_pool),
    "GlobalLpPool": TorchOperator(global_lp_pool),
    "MaxUnpool": TorchOperator(max_unpool, cpu_inputs=(2,)),
}
