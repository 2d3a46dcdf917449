"""What an operator makes of the distributions of its inputs' channels.

Activation functions clamp them, pooling and spatial indexing do not change them (an upper bound of the deviation), a
constant per channel shifts or scales them, and an addition adds means and variances as if its inputs were independent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from faceter.graphs.shapes import TensorInfo
from faceter.graphs.view import Array, GraphView, attribute
from workers.quantization.gaussian import ClampedGaussian

Distributions = Mapping[str, ClampedGaussian]

_INTERPOLATING = ("nearest", "linear")


@dataclass(frozen=True)
class TypedGraph:
    """A graph with the shapes of its tensors."""

    view: GraphView
    info: Mapping[str, TensorInfo]

    def shape(self, name: str) -> tuple[int | str | None, ...] | None:
        """Return a tensor's shape, None if its rank is unknown."""
        return self.info[name].shape if name in self.info else None

    def rank(self, name: str) -> int:
        """Return a tensor's rank, 0 if it is unknown."""
        shape = self.shape(name)
        return 0 if shape is None else len(shape)

    def constant(self, node: NodeProto, index: int) -> Array | None:
        """Return the constant value of an input; None if it is missing or not constant."""
        return self.view.constant(node.input[index]) if is_given(node, index) else None

    def numbers(self, node: NodeProto, index: int) -> list[int] | None:
        """Return the constant integers of an input; None if it is missing or not constant."""
        value = self.constant(node, index)
        return None if value is None else [int(number) for number in value.reshape(-1)]

    def per_channel(self, value: Array, result: str) -> NDArray[np.float64] | None:
        """Return a constant that is broadcast to a tensor as one value per channel, [C] or [1]; None if it is more."""
        rank = self.rank(result)
        if rank < 2 or value.ndim > rank:
            return None
        padded = value.reshape((1,) * (rank - value.ndim) + value.shape)
        return padded.reshape(-1).astype(np.float64) if padded.size == padded.shape[1] else None


Rule = Callable[[NodeProto, Distributions, TypedGraph], list[ClampedGaussian | None]]
"""``(node, known distributions, graph) -> distributions of the node's outputs``, None where nothing is known."""


def is_given(node: NodeProto, index: int) -> bool:
    """Whether a node has an input at a position."""
    return len(node.input) > index and bool(node.input[index])


def _first(node: NodeProto, known: Distributions) -> ClampedGaussian | None:
    return known.get(node.input[0]) if is_given(node, 0) else None


def _unchanged(node: NodeProto, known: Distributions, graph: TypedGraph) -> list[ClampedGaussian | None]:
    return [_first(node, known)]


def _relu(node: NodeProto, known: Distributions, graph: TypedGraph) -> list[ClampedGaussian | None]:
    x = _first(node, known)
    return [None if x is None else x.clamp(0.0, math.inf)]


def _clip(node: NodeProto, known: Distributions, graph: TypedGraph) -> list[ClampedGaussian | None]:
    x = _first(node, known)
    bounds = [-math.inf, math.inf]
    for index in (1, 2):
        if is_given(node, index):
            value = graph.constant(node, index)
            if value is None or value.size != 1:
                return [None]
            bounds[index - 1] = float(value.reshape(()))
    return [None if x is None else x.clamp(bounds[0], bounds[1])]


def _bound(node: NodeProto, known: Distributions, graph: TypedGraph) -> list[ClampedGaussian | None]:
    """Propagate Min and Max with one constant, a number or one per channel."""
    found = _with_constant(node, known, graph)
    if found is None:
        return [None]
    x, bound, _ = found
    return [x.clamp(-math.inf, bound) if node.op_type == "Min" else x.clamp(bound, math.inf)]


def _with_constant(
    node: NodeProto, known: Distributions, graph: TypedGraph
) -> tuple[ClampedGaussian, NDArray[np.float64], int] | None:
    """Return the distribution, the constant per channel and the position of the constant of a node of both."""
    if len(node.input) != 2:
        return None
    for position in (0, 1):
        x, value = known.get(node.input[position]), graph.constant(node, 1 - position)
        if x is None or value is None or value.dtype.kind != "f":
            continue
        if graph.rank(node.input[position]) != graph.rank(node.output[0]):
            return None
        channels = graph.per_channel(value, node.output[0])
        if channels is None or channels.size not in (1, x.mean.size):
            return None
        return x, np.broadcast_to(channels, x.mean.shape), 1 - position
    return None


def _affine(node: NodeProto, known: Distributions, graph: TypedGraph) -> list[ClampedGaussian | None]:
    """Propagate Add, Sub, Mul and Div with a constant, a number or one per channel; and sums of two distributions."""
    found = _with_constant(node, known, graph)
    if found is None:
        return [_sum(node, known, graph) if node.op_type == "Add" else None]
    x, value, position = found
    match node.op_type:
        case "Add":
            return [x.shift(value)]
        case "Sub":
            return [x.shift(-value) if position == 1 else x.scale(-np.ones_like(value)).shift(value)]
        case "Mul":
            return [x.scale(value)]
        case "Div" if position == 1 and np.all(value != 0):
            return [x.scale(1 / value)]
        case _:
            return [None]


def _sum(node: NodeProto, known: Distributions, graph: TypedGraph) -> ClampedGaussian | None:
    first, second = (known.get(name) for name in node.input)
    ranks = {graph.rank(name) for name in (*node.input, node.output[0])}
    if first is None or second is None or first.mean.shape != second.mean.shape or len(ranks) > 1:
        return None
    deviation = np.sqrt(first.variance() + second.variance())
    return ClampedGaussian(
        first.expectation() + second.expectation(), deviation, first.low + second.low, first.high + second.high
    )


def _concat(node: NodeProto, known: Distributions, graph: TypedGraph) -> list[ClampedGaussian | None]:
    groups = [known[name] for name in node.input if name in known]
    if not groups or len(groups) < len(node.input):
        return [None]
    if attribute(node, "axis") not in (1, 1 - graph.rank(node.output[0])):
        return [None]
    return [_joined(groups)]


def _joined(groups: list[ClampedGaussian]) -> ClampedGaussian:
    fields = ("mean", "deviation", "low", "high")
    return ClampedGaussian(*(np.concatenate([getattr(group, field) for group in groups]) for field in fields))


def _pad(node: NodeProto, known: Distributions, graph: TypedGraph) -> list[ClampedGaussian | None]:
    x, rank = _first(node, known), graph.rank(node.input[0])
    pads, fill, axes = graph.numbers(node, 1), graph.constant(node, 2), graph.numbers(node, 3)
    if x is None or pads is None or rank < 2 or attribute(node, "mode", "constant") != "constant":
        return [None]
    if (is_given(node, 2) and fill is None) or (is_given(node, 3) and axes is None):
        return [None]
    padded_axes = list(range(rank)) if axes is None else [axis % rank for axis in axes]
    if len(pads) != 2 * len(padded_axes):
        return [None]
    full = np.zeros((2, rank), np.int64)
    full[:, padded_axes] = np.reshape(pads, (2, -1))
    value = np.array([0.0 if fill is None or not fill.size else float(fill.reshape(-1)[0])])
    before, after = full[:, 1].tolist()
    if before < 0 or after < 0:
        return [None]
    if not before and not after:
        return [ClampedGaussian(x.mean, x.deviation, np.minimum(x.low, value), np.maximum(x.high, value))]

    def constant(channels: int) -> ClampedGaussian:
        values = np.repeat(value, channels)
        return ClampedGaussian(values, np.zeros(channels), values, values)

    return [_joined([constant(before), x, constant(after)])]


def _slice(node: NodeProto, known: Distributions, graph: TypedGraph) -> list[ClampedGaussian | None]:
    x, rank = _first(node, known), graph.rank(node.input[0])
    starts, ends, axes, steps = (graph.numbers(node, index) for index in (1, 2, 3, 4))
    if x is None or rank < 2 or starts is None or ends is None:
        return [None]
    if (is_given(node, 3) and axes is None) or (is_given(node, 4) and steps is None):
        return [None]
    sliced_axes = list(range(len(starts))) if axes is None else [axis % rank for axis in axes]
    strides = [1] * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(sliced_axes) == len(strides) or 0 in strides:
        return [None]
    channels = np.arange(x.mean.size)
    for axis, start, end, stride in zip(sliced_axes, starts, ends, strides, strict=True):
        if axis == 1:
            if stride < 0:
                return [None]
            channels = channels[start:end:stride]
    return [_selected(x, channels)]


def _split(node: NodeProto, known: Distributions, graph: TypedGraph) -> list[ClampedGaussian | None]:
    x, rank = _first(node, known), graph.rank(node.input[0])
    if x is None or rank < 2:
        return [None]
    if attribute(node, "axis", 0) % rank != 1:
        return [x] * len(node.output)
    sizes: list[int] | None = graph.numbers(node, 1) if is_given(node, 1) else attribute(node, "split")
    if sizes is None and not is_given(node, 1):
        size = -(-x.mean.size // len(node.output))
        sizes = [min(size, x.mean.size - size * index) for index in range(len(node.output))]
    if sizes is None or sum(sizes) != x.mean.size or min(sizes) < 1:
        return [None]
    return [_selected(x, part) for part in np.split(np.arange(x.mean.size), np.cumsum(sizes)[:-1])]


def _selected(x: ClampedGaussian, channels: NDArray[np.int64]) -> ClampedGaussian | None:
    if not channels.size:
        return None
    return ClampedGaussian(x.mean[channels], x.deviation[channels], x.low[channels], x.high[channels])


def _resize(node: NodeProto, known: Distributions, graph: TypedGraph) -> list[ClampedGaussian | None]:
    cropped = attribute(node, "coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize"
    if attribute(node, "mode", "nearest") not in _INTERPOLATING or cropped:
        return [None]
    return _unchanged(node, known, graph)


def _keep_channels(node: NodeProto, known: Distributions, graph: TypedGraph) -> list[ClampedGaussian | None]:
    """Propagate [N, C, …] → [N, C, …] where all but the channels' axis have size 1, or are reshaped behind it.

    A reshape that could mix channels with other axes is not followed.
    """
    before = graph.shape(node.input[0]) if is_given(node, 0) else None
    after = graph.shape(node.output[0])
    if before is None or after is None or len(before) < 2 or len(after) < 2:
        return [None]
    channels = before[1]
    if not isinstance(channels, int) or channels != after[1]:
        return [None]
    same_batch = before[0] is not None and before[0] == after[0]
    pooled = all(size == 1 for size in (*before[2:], *after[2:]))
    return [_first(node, known) if same_batch or pooled else None]


_UNCHANGED = ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Identity", "Dropout")
_RESHAPING = ("Flatten", "Reshape", "Squeeze", "Unsqueeze")

RULES: dict[str, Rule] = {
    "Relu": _relu,
    "Clip": _clip,
    "Concat": _concat,
    "Pad": _pad,
    "Resize": _resize,
    "Slice": _slice,
    "Split": _split,
    **dict.fromkeys(("Min", "Max"), _bound),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), _affine),
    **dict.fromkeys(_UNCHANGED, _unchanged),
    **dict.fromkeys(_RESHAPING, _keep_channels),
}
"""The rule of each operator that has one."""
