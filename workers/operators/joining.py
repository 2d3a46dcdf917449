"""Joining, splitting and repeating tensors."""

import torch
from torch import Tensor

from workers.operators.node import Node, TorchOperator


def concat(node: Node, *parts: Tensor) -> Tensor:
    """Join along an axis."""
    return torch.cat(parts, dim=node.integer("axis"))


def split(node: Node, x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    """Split along an axis: by given sizes (attribute before opset 13), or evenly with a smaller last part."""
    axis = node.integer("axis", 0)
    given = tuple(sizes.tolist()) if sizes is not None else node.integers("split")
    if not given:
        count = node.integer("num_outputs", len(node.outputs))
        length = -(-x.shape[axis] // count)
        given = tuple(max(0, min(length, x.shape[axis] - i * length)) for i in range(count))
    return torch.split(x, list(given), dim=axis)


def tile(node: Node, x: Tensor, repeats: Tensor) -> Tensor:
    """Repeat along every axis."""
    return x.repeat(repeats.tolist())


def expand(node: Node, x: Tensor, shape: Tensor) -> Tensor:
    """Broadcast to a shape; a size of 1 there keeps the tensor's own."""
    sizes = tuple(shape.tolist())
    own = (1,) * (len(sizes) - x.ndim) + tuple(x.shape)
    sizes = (1,) * (len(own) - len(sizes)) + sizes
    return x.expand([a if b == 1 else b for a, b in zip(own, sizes, strict=True)])


OPERATORS = {
    "Concat": TorchOperator(concat),
    "Split": TorchOperator(split, cpu_inputs=(1,)),
    "Tile": TorchOperator(tile, cpu_inputs=(1,)),
    "Expand": TorchOperator(expand, cpu_inputs=(1,)),
}
