"""Gather, Scatter, Slice and related operators."""

import torch
from torch import Tensor

from workers.operators.node import Node, TorchOperator


def _from_start(indices: Tensor, size: int) -> Tensor:
    """Return int64 indices without negative ones, which count from the end."""
    indices = indices.to(torch.int64)
    return torch.where(indices < 0, indices + size, indices)


def gather(node: Node, x: Tensor, indices: Tensor) -> Tensor:
    """Slices of an axis, at indices of any shape: an embedding, where the axis is 0."""
    axis = node.integer("axis", 0) % x.ndim
    positions = _from_start(indices, x.shape[axis])
    y = x.index_select(axis, positions.reshape(-1))
    return y.reshape((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


def gather_elements(node: Node, x: Tensor, indices: Tensor) -> Tensor:
    """One element along an axis for every index."""
    axis = node.integer("axis", 0)
    return torch.gather(x, axis, _from_start(indices, x.shape[axis]))


def gather_nd(node: Node, x: Tensor, indices: Tensor) -> Tensor:
    """Slices at index tuples along the last axis of ``indices``."""
    batch_dims = node.integer("batch_dims", 0)
    depth = indices.shape[-1]
    positions = [_from_start(indices[..., i], x.shape[batch_dims + i]) for i in range(depth)]
    batch = []
    for axis in range(batch_dims):
        along = torch.arange(x.shape[axis], device=x.device)
        batch.append(along.reshape(*[1] * axis, -1, *[1] * (indices.ndim - 2 - axis)))
    return x[(*batch, *positions)]


def scatter_elements(node: Node, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    """X with elements along an axis replaced or reduced (add, mul, max, min) by ``updates``."""
    axis = node.integer("axis", 0)
    positions = _from_start(indices, x.shape[axis])
    updates = updates.to(x.dtype)
    rule = node.text("reduction", "none")
    if rule == "none":
        return torch.scatter(x, axis, positions, updates)
    return torch.scatter_reduce(x, axis, positions, updates, _REDUCTIONS[rule])


_REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def scatter_nd(node: Node, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    """X with slices at index tuples replaced or reduced (add, mul, max, min) by ``updates``."""
    depth = indices.shape[-1]
    if depth == 0:
        return updates.to(x.dtype).expand(x.shape)
    flat = torch.zeros(indices.shape[:-1], dtype=torch.int64, device=x.device)
    for axis in range(depth):
        flat = flat * x.shape[axis] + _from_start(indices[..., axis], x.shape[axis])
    rest = x.shape[depth:]
    rows = x.reshape(-1, *rest)
    values = updates.to(x.dtype).reshape(-1, *rest)
    flat = flat.reshape(-1)
    rule = node.text("reduction", "none")
    if rule == "none":
        return rows.index_copy(0, flat, values).reshape(x.shape)
    if rule == "add":
        return rows.index_add(0, flat, values).reshape(x.shape)
    every = flat.reshape(-1, *[1] * len(rest)).expand(values.shape)
    return rows.scatter_reduce(0, every, values, _REDUCTIONS[rule]).reshape(x.shape)


def tensor_slice(
    node: Node,
    x: Tensor,
    starts: Tensor,
    ends: Tensor,
    axes: Tensor | None = None,
    steps: Tensor | None = None,
) -> Tensor:
    """Slice with start, end and step per axis; steps may be negative."""
    chosen = axes.tolist() if axes is not None else range(len(starts))
    strides = steps.tolist() if steps is not None else [1] * len(starts)
    for axis, start, end, step in zip(chosen, starts.tolist(), ends.tolist(), strides, strict=True):
        first, last, step = slice(start, end, step).indices(x.shape[axis])
        count = len(range(first, last, step))
        if step > 0:
            index = [slice(None)] * x.ndim
            index[axis] = slice(first, max(first, last), step)
            x = x[tuple(index)]
        else:
            x = x.index_select(axis, torch.arange(count, device=x.device) * step + first)
    return x


def compress(node: Node, x: Tensor, condition: Tensor) -> Tensor:
    """Slices of an axis where the condition is true; elements of the flat tensor without an axis."""
    positions = torch.nonzero(condition).reshape(-1)
    if not node.has("axis"):
        return x.reshape(-1).index_select(0, positions)
    return x.index_select(node.integer("axis"), positions)


def non_zero(node: Node, x: Tensor) -> Tensor:
    """Indices of the elements that are not zero: [rank, count], int64."""
    return torch.nonzero(x).t()


def triangle(node: Node, x: Tensor, k: Tensor | None = None) -> Tensor:
    """The upper or lower triangle of each matrix, from the k-th diagonal on; zero elsewhere."""
    diagonal = 0 if k is None else int(k.reshape(()).item())
    return torch.triu(x, diagonal) if node.integer("upper", 1) else torch.tril(x, diagonal)


def reverse_sequence(node: Node, x: Tensor, lengths: Tensor) -> Tensor:
    """X with the first ``lengths[b]`` steps of each sequence reversed."""
    batch_axis, time_axis = node.integer("batch_axis", 1), node.integer("time_axis", 0)
    y = x.movedim((batch_axis, time_axis), (0, 1))
    steps = torch.arange(y.shape[1], device=x.device)
    lengths = lengths[:, None]
    positions = torch.where(steps < lengths, lengths - 1 - steps, steps)
    y = y[torch.arange(y.shape[0], device=x.device)[:, None], positions]
    return y.movedim((0, 1), (batch_axis, time_axis))


def unique(node: Node, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Unique slices of an axis (or elements), their first positions, the inverse indices, and their counts."""
    axis = node.integer("axis") if node.has("axis") else None
    if axis is None:
        values, inverse, counts = torch.unique(x, return_inverse=True, return_counts=True)
        inverse = inverse.reshape(-1)
    else:
        values, inverse, counts = torch.unique(x, return_inverse=True, return_counts=True, dim=axis)
    positions = torch.arange(len(inverse), device=x.device)
    first = torch.full_like(counts, len(inverse)).scatter_reduce(0, inverse, positions, "amin")
    if not node.integer("sorted", 1):
        order = torch.argsort(first)
        values = values.index_select(axis or 0, order)
        inverse = torch.argsort(order)[inverse]
        first, counts = first[order], counts[order]
    return values, first, inverse, counts


def tensor_scatter(node: Node, cache: Tensor, update: Tensor, start: Tensor | None = None) -> Tensor:
    """Write the steps of an update into a cache [N, …, steps, …] along ``axis``, from a place of its own per sample.

    In the mode ``circular`` places past the end go on at the beginning (opset 24).
    """
    axis = node.integer("axis", -2) % cache.ndim
    steps = torch.arange(update.shape[axis], device=cache.device)
    first = torch.zeros(len(cache), dtype=torch.int64, device=cache.device) if start is None else start.long()
    places = first[:, None] + steps
    if node.text("mode", "linear") == "circular":
        places = places % cache.shape[axis]
    shape = [len(cache), *[1] * (axis - 1), len(steps), *[1] * (cache.ndim - axis - 1)]
    return cache.scatter(axis, places.reshape(shape).expand(update.shape), update)


OPERATORS = {
    "TensorScatter": TorchOperator(tensor_scatter),
    "Gather": TorchOperator(gather),
    "GatherElements": TorchOperator(gather_elements),
    "GatherND": TorchOperator(gather_nd),
    "Scatter": TorchOperator(scatter_elements),
    "ScatterElements": TorchOperator(scatter_elements),
    "ScatterND": TorchOperator(scatter_nd),
    "Slice": TorchOperator(tensor_slice, cpu_inputs=(1, 2, 3, 4)),
    "Compress": TorchOperator(compress),
    "NonZero": TorchOperator(non_zero),
    "Trilu": TorchOperator(triangle, cpu_inputs=(1,)),
    "ReverseSequence": TorchOperator(reverse_sequence),
    "Unique": TorchOperator(unique),
}
