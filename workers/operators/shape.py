"""Shapes: reading them, and giving a tensor another one with the same elements."""

import math

import torch
from torch import Tensor

from workers.operators.node import Node, Operator


def shape_of(node: Node, x: Tensor) -> Tensor:
    """The sizes from ``start`` to ``end``, int64, on the CPU."""
    end = node.attributes.get("end")
    return torch.tensor(x.shape[node.integer("start") : end], dtype=torch.int64)


def size_of(node: Node, x: Tensor) -> Tensor:
    """The number of elements, int64, on the CPU."""
    return torch.tensor(x.numel(), dtype=torch.int64)


def reshape(node: Node, x: Tensor, shape: Tensor) -> Tensor:
    """Another shape; 0 keeps a size (unless ``allowzero``), −1 is worked out."""
    sizes = shape.tolist()
    if not node.integer("allowzero"):
        sizes = [x.shape[i] if size == 0 else size for i, size in enumerate(sizes)]
    return x.reshape(tuple(sizes))


def flatten(node: Node, x: Tensor) -> Tensor:
    """A matrix: the axes before ``axis``, and the others."""
    axis = node.integer("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


def squeeze(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Without the given axes of size 1 (attribute before opset 13), or without all such."""
    chosen = tuple(axes.tolist()) if axes is not None else node.integers("axes")
    return x.squeeze(chosen) if chosen else x.squeeze()


def unsqueeze(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    """With axes of size 1 at the given positions of the result (attribute before opset 13)."""
    chosen = axes.reshape(-1).tolist() if axes is not None else list(node.integers("axes"))
    rank = x.ndim + len(chosen)
    for axis in sorted(axis % rank for axis in chosen):
        x = x.unsqueeze(axis)
    return x


def transpose(node: Node, x: Tensor) -> Tensor:
    """Axes in another order, by default turned round."""
    return x.permute(node.integers("perm", tuple(reversed(range(x.ndim)))))


def depth_to_space(node: Node, x: Tensor) -> Tensor:
    """Channels into blocks of space, in ``DCR`` or ``CRD`` order."""
    n, c, h, w = x.shape
    block = node.integer("blocksize")
    depth = c // (block * block)
    if node.text("mode", "DCR") == "DCR":
        y = x.reshape(n, block, block, depth, h, w).permute(0, 3, 4, 1, 5, 2)
    else:
        y = x.reshape(n, depth, block, block, h, w).permute(0, 1, 4, 2, 5, 3)
    return y.reshape(n, depth, h * block, w * block)


def space_to_depth(node: Node, x: Tensor) -> Tensor:
    """Blocks of space into channels, in ``DCR`` (the default) or ``CRD`` order."""
    n, c, h, w = x.shape
    block = node.integer("blocksize")
    y = x.reshape(n, c, h // block, block, w // block, block)
    order = (0, 3, 5, 1, 2, 4) if node.text("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
    return y.permute(order).reshape(n, c * block * block, h // block, w // block)


OPERATORS = {
    "Shape": Operator(shape_of, described=(0,)),
    "Size": Operator(size_of, described=(0,)),
    "Reshape": Operator(reshape, host=(1,)),
    "Flatten": Operator(flatten),
    "Squeeze": Operator(squeeze, host=(1,)),
    "Unsqueeze": Operator(unsqueeze, host=(1,)),
    "Transpose": Operator(transpose),
    "DepthToSpace": Operator(depth_to_space),
    "SpaceToDepth": Operator(space_to_depth),
}
