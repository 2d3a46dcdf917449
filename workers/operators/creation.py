"""Creation of tensors: constants, ranges, one-hot codes."""

import torch
from torch import Tensor

from workers.operators.node import Node, TorchOperator
from workers.operators.tensors import torch_dtype

_CONSTANTS = {
    "value_float": torch.float32,
    "value_floats": torch.float32,
    "value_int": torch.int64,
    "value_ints": torch.int64,
}


def constant(node: Node) -> Tensor:
    """The value of the attribute."""
    if node.has("value"):
        value: Tensor = node.attributes["value"]
        return value
    name = next(name for name in _CONSTANTS if node.has(name))
    return torch.tensor(node.attributes[name], dtype=_CONSTANTS[name])


def constant_of_shape(node: Node, shape: Tensor) -> Tensor:
    """A tensor of a shape, filled with one value."""
    value: Tensor | None = node.attributes.get("value")
    sizes = shape.tolist()
    return torch.zeros(sizes) if value is None else value.reshape(()).expand(sizes).clone()


def arange(node: Node, start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    """Start, start + delta, … up to but not including the limit."""
    return torch.arange(start.item(), limit.item(), delta.item(), dtype=start.dtype)


def eye_like(node: Node, x: Tensor) -> Tensor:
    """1 on the k-th diagonal of a matrix of the same shape, 0 elsewhere."""
    dtype = torch_dtype(node.integer("dtype")) if node.has("dtype") else x.dtype
    rows, columns = x.shape
    difference = torch.arange(columns, device=x.device) - torch.arange(rows, device=x.device)[:, None]
    return (difference == node.integer("k")).to(dtype)


def one_hot(node: Node, indices: Tensor, depth: Tensor, values: Tensor) -> Tensor:
    """``values[1]`` at each index along a new axis, ``values[0]`` elsewhere; negative indices count from the end."""
    count = int(depth.reshape(()).item())
    axis = node.integer("axis", -1)
    positive = indices.to(torch.int64)
    positive = torch.where(positive < 0, positive + count, positive)
    axis = axis % (indices.ndim + 1)
    positions = torch.arange(count, device=indices.device).reshape(-1, *[1] * (indices.ndim - axis))
    return torch.where(positive.unsqueeze(axis) == positions, values[1], values[0])


OPERATORS = {
    "Constant": TorchOperator(constant),
    "ConstantOfShape": TorchOperator(constant_of_shape, cpu_inputs=(0,)),
    "Range": TorchOperator(arange, cpu_inputs=(0, 1, 2)),
    "EyeLike": TorchOperator(eye_like, shape_only=(0,)),
    "OneHot": TorchOperator(one_hot, cpu_inputs=(1,), non_trainable=(2,)),
}
