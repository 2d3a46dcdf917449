"""Shape, Size, and operators that change the shape only."""

import math

import torch
from torch import Tensor

from workers.operators.node import Node, TorchOperator


def shape_of(node: Node, x: Tensor) -> Tensor:
    """The sizes from ``start`` to ``end``, int64, on the CPU."""
    end = node.attributes.get("end")
    return torch.tensor(x.shape[node.integer("start") : end], dtype=torch.int64)


def size_of(node: Node, x: Tensor) -> Tensor:
    """The number of elements, int64, on the CPU."""
    return torch.tensor(x.numel(), dtype=torch.int64)


def reshape(node: Node, x: Tensor, shape: Tensor) -> Tensor:
    """Reshape; 0 copies a size (unless ``allowzero``), −1 is inferred."""
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
    """Remove the given axes of size 1 (attribute before opset 13), or all."""
    chosen = tuple(axes.tolist()) if axes is not None else node.integers("axes")
    return x.squeeze(chosen) if chosen else x.squeeze()


def unsqueeze(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Insert axes of size 1 at the given positions of the result (attribute before opset 13)."""
    chosen = axes.reshape(-1).tolist() if axes is not None else list(node.integers("axes"))
    rank = x.ndim + len(chosen)
    for axis in sorted(axis % rank for axis in chosen):
        x = x.unsqueeze(axis)
    return x


def transpose(node: Node, x: Tensor) -> Tensor:
    """Permute axes; reversed by default."""
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
    "Shape": TorchOperator(shape_of, shape_only=(0,)),
    "Size": TorchOperator(size_of, shape_only=(0,)),
    "Reshape": TorchOperator(reshape, cpu_inputs=(1,)),
    "Flatten": TorchOperator(flatten),
    "Squeeze": TorchOperator(squeeze, cpu_inputs=(1,)),
    "Unsqueeze": TorchOperator(unsqueeze, cpu_inputs=(1,)),
    "Transpose": TorchOperator(transpose),
    "DepthToSpace": TorchOperator(depth_to_space),
    "SpaceToDepth": TorchOperator(space_to_depth),
}
