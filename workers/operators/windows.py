"""Sliding windows over spatial axes, for convolution and pooling."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from faceter.contracts.errors import FaceterError, ProblemKind
from workers.operators.node import Node


@dataclass(frozen=True, slots=True)
class Window:
    """A sliding window, one value per spatial axis.

    Attributes:
        begins: Padding before the first element.
        ends: Padding after the last element.
        extra: Further padding at the end for ``ceil_mode``; never counted as padding.
        output: Number of positions.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begins: tuple[int, ...]
    ends: tuple[int, ...]
    extra: tuple[int, ...]
    output: tuple[int, ...]

    @property
    def symmetric(self) -> bool:
        """Whether begin and end padding are equal, with no extra."""
        return self.begins == self.ends and not any(self.extra) and min(self.begins, default=0) >= 0

    @property
    def padded(self) -> bool:
        """Whether anything is padded."""
        return any(self.begins) or any(self.ends) or any(self.extra)


def window(node: Node, size: Sequence[int], kernel: Sequence[int]) -> Window:
    """Return the window of a convolution or pooling node over spatial axes of the given ``size``.

    Source: ONNX's Conv and MaxPool: ``auto_pad``, ``pads``, ``strides``, ``dilations``, ``ceil_mode``.
    """
    rank = len(size)
    strides = node.integers("strides", (1,) * rank)
    dilations = node.integers("dilations", (1,) * rank)
    spans = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    begins, ends = _pads(node, size, spans, strides)
    output, extra = [], []
    for axis in range(rank):
        room = size[axis] + begins[axis] + ends[axis] - spans[axis]
        count = room // strides[axis] + 1
        if node.integer("ceil_mode") and room % strides[axis] and count * strides[axis] < size[axis] + begins[axis]:
            count += 1
        output.append(count)
        extra.append(max(0, (count - 1) * strides[axis] - room))
    return Window(tuple(kernel), strides, dilations, begins, ends, tuple(extra), tuple(output))


def _pads(
    node: Node, size: Sequence[int], spans: Sequence[int], strides: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    rank = len(size)
    rule = node.text("auto_pad", "NOTSET")
    if rule == "VALID":
        return (0,) * rank, (0,) * rank
    if rule == "NOTSET":
        pads = node.integers("pads", (0,) * (2 * rank))
        return pads[:rank], pads[rank:]
    total = [max(0, (-(-n // s) - 1) * s + span - n) for n, s, span in zip(size, strides, spans, strict=True)]
    small = tuple(t // 2 for t in total)
    large = tuple(t - t // 2 for t in total)
    return (small, large) if rule == "SAME_UPPER" else (large, small)


def of_rank(node: Node, functions: Mapping[int, Callable[..., Any]], rank: int) -> Callable[..., Any]:
    """Return torch's function for a number of spatial axes.

    Raises:
        FaceterError: ``UNSUPPORTED_OPERATOR`` if torch has none.
    """
    if rank not in functions:
        raise FaceterError(
            ProblemKind.UNSUPPORTED_OPERATOR,
            f"The {node.op_type} node {node.name!r} has {rank} spatial axes; one to three are supported here.",
            operator=node.op_type,
            node=node.name,
        )
    return functions[rank]


def pad(x: Tensor, begins: Sequence[int], ends: Sequence[int], value: float = 0.0) -> Tensor:
    """Pad the last ``len(begins)`` axes with a constant; negative sizes crop."""
    if not any(begins) and not any(ends):
        return x
    amounts = [n for begin, end in zip(reversed(begins), reversed(ends), strict=True) for n in (begin, end)]
    return functional.pad(x, amounts, value=value)


def unfolded(x: Tensor, at: Window) -> Tensor:
    """Return a view [N, C, *output, *kernel] of the windows of a padded ``x``."""
    rank = len(at.kernel)
    for axis in range(rank):
        span = at.dilations[axis] * (at.kernel[axis] - 1) + 1
        x = x.unfold(2 + axis, span, at.strides[axis])[..., :: at.dilations[axis]]
        x = x.narrow(2 + axis, 0, at.output[axis])
    return x


def added_per_channel(x: Tensor, bias: Tensor | None) -> Tensor:
    """Add a bias [C] to [N, C, …]."""
    return x if bias is None else x + bias.reshape(-1, *([1] * (x.ndim - 2)))


def lowest(dtype: torch.dtype) -> float:
    """Return the identity of a maximum."""
    return float("-inf") if dtype.is_floating_point else torch.iinfo(dtype).min
