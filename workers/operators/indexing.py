"""Reading and writing at indices."""

import torch
from torch import Tensor

from workers.operators.node import Node, Operator


def _from_start(indices: Tensor, size: int) -> Tensor:
    """Return int64 indices with the negative ones counted from the end."""
    indices = indices.to(torch.int64)
    return torch.where(indices < 0, indices + size, indices)


def gather(node: Node, x: Tensor, indices: Tensor) -> Tensor:
    """Slices of an axis, at indices of any shape: an embedding, where the axis is 0."""
    axis = node.integer("axis", 0) % x.ndim
    places = _from_start(indices, x.shape[axis])
    y = x.index_select(axis, places.reshape(-1))
    return y.reshape((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


def gather_elements(node: Node, x: Tensor, indices: Tensor) -> Tensor:
    """One element along an axis for every index."""
    axis = node.integer("axis", 0)
    return torch.gather(x, axis, _from_start(indices, x.shape[axis]))


def gather_nd(node: Node, x: Tensor, indices: Tensor) -> Tensor:
    """Slices at tuples of indices, which lie along the last axis of ``indices``."""
    batch_dims = node.integer("batch_dims", 0)
    depth = indices.shape[-1]
    places = [_from_start(indices[..., i], x.shape[batch_dims + i]) for i in range(depth)]
    batch = []
    for axis in range(batch_dims):
        along = torch.arange(x.shape[axis], device=x.device)
        batch.append(along.reshape(*[1] * axis, -1, *[1] * (indices.ndim - 2 - axis)))
    return x[(*batch, *places)]


def scatter_elements(node: Node, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    """X with one element along an axis written, added to, multiplied or bounded for every index."""
    axis = node.integer("axis", 0)
    places = _from_start(indices, x.shape[axis])
    updates = updates.to(x.dtype)
    rule = node.text("reduction", "none")
    if rule == "none":
        return torch.scatter(x, axis, places, updates)
    return torch.scatter_reduce(x, axis, places, updates, _REDUCTIONS[rule])


_REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def scatter_nd(node: Node, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    """X with slices written, added to, multiplied or bounded at tuples of indices."""
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
    """A regular part of a tensor, forwards or backwards."""
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
    """The slices of an axis for which the condition holds; of the flat tensor without an axis."""
    places = torch.nonzero(condition).reshape(-1)
    if not node.has("axis"):
        return x.reshape(-1).index_select(0, places)
    return x.index_select(node.integer("axis"), places)


def non_zero(node: Node, x: Tensor) -> Tensor:
    """Indices of the elements that are not zero: [rank, count], int64."""
    return torch.nonzero(x).t()


def triangle(node: Node, x: Tensor, k: Tensor | None = None) -> Tensor:
    """The upper or lower triangle of each matrix, from the k-th diagonal on; zero elsewhere."""
    diagonal = 0 if k is None else int(k.reshape(()).item())
    return torch.triu(x, diagonal) if node.integer("upper", 1) else torch.tril(x, diagonal)


def reverse_sequence(node: Node, x: Tensor, lengths: Tensor) -> Tensor:
    """X with the first ``lengths[b]`` steps of each sequence turned round."""
    batch_axis, time_axis = node.integer("batch_axis", 1), node.integer("time_axis", 0)
    y = x.movedim((batch_axis, time_axis), (0, 1))
    steps = torch.arange(y.shape[1], device=x.device)
    lengths = lengths[:, None]
    places = torch.where(steps < lengths, lengths - 1 - steps, steps)
    y = y[torch.arange(y.shape[0], device=x.device)[:, None], places]
    return y.movedim((0, 1), (batch_axis, time_axis))


def unique(node: Node, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Different slices of an axis (or elements), where each comes first, which each is, and how often it comes."""
    axis = node.integer("axis") if node.has("axis") else None
    if axis is None:
        values, inverse, counts = torch.unique(x, return_inverse=True, return_counts=True)
        inverse = inverse.reshape(-1)
    else:
        values, inverse, counts = torch.unique(x, return_inverse=True, return_counts=True, dim=axis)
    places = torch.arange(len(inverse), device=x.device)
    first = torch.full_like(counts, len(inverse)).scatter_reduce(0, inverse, places, "amin")
    if not node.integer("sorted", 1):
        order = torch.argsort(first)
        values = values.index_select(axis or 0, order)
        inverse = torch.argsort(order)[inverse]
        first, counts = first[order], counts[order]
    return values, first, inverse, counts


OPERATORS = {
    "Gather": Operator(gather),
    "GatherElements": Operator(gather_elements),
    "GatherND": Operator(gather_nd),
    "Scatter": Operator(scatter_elements),
    "ScatterElements": Operator(scatter_elements),
    "ScatterND": Operator(scatter_nd),
    "Slice": Operator(tensor_slice, host=(1, 2, 3, 4)),
    "Compress": Operator(compress),
    "NonZero": Operator(non_zero),
    "Trilu": Operator(triangle, host=(1,)),
    "ReverseSequence": Operator(reverse_sequence),
    "Unique": Operator(unique),
}
