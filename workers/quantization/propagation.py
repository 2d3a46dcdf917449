"""Propagation of BatchNorm's means and deviations through the graph, without data.

A folded convolution with BatchNorm gives channels N(β, γ²); those are the sources. From there distributions are
propagated in closed form: activation functions clamp them, pooling and spatial indexing do not change them (an upper
bound of the deviation), an addition adds means and variances as if its inputs were independent. Tensors that cannot be
reached (after a convolution without statistics, a channel shuffle) are measured in forward passes instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto

from faceter.graphs.shapes import TensorInfo, infer_shapes
from faceter.graphs.view import Array, GraphView, attribute
from workers.quantization.gaussian import ClampedGaussian

Distributions = Mapping[str, ClampedGaussian]


@dataclass(frozen=True)
class _TypedGraph:
    view: GraphView
    info: Mapping[str, TensorInfo]

    def rank(self, name: str) -> int:
        shape = self.info[name].shape if name in self.info else None
        return 0 if shape is None else len(shape)

    def constant(self, node: NodeProto, index: int) -> Array | None:
        return self.view.constant(node.input[index]) if len(node.input) > index and node.input[index] else None


_Rule = Callable[[NodeProto, Distributions, _TypedGraph], ClampedGaussian | None]


def propagate(model: ModelProto, sources: Distributions) -> dict[str, ClampedGaussian]:
    """Propagate distributions of channels forward through a graph.

    Args:
        model: A canonical model of opset 13 or later.
        sources: Distributions of tensors with channels on axis 1, such as outputs of convolutions.

    Returns:
        Distributions of all tensors that can be reached, the sources included.
    """
    graph = _TypedGraph(GraphView(model), infer_shapes(model))
    known = dict(sources)
    for node in model.graph.node:
        if node.op_type not in _RULES or node.output[0] in known:
            continue
        distribution = _RULES[node.op_type](node, known, graph)
        if distribution is not None:
            known[node.output[0]] = distribution
    return known


def _unchanged(node: NodeProto, known: Distributions, graph: _TypedGraph) -> ClampedGaussian | None:
    return known.get(node.input[0])


def _relu(node: NodeProto, known: Distributions, graph: _TypedGraph) -> ClampedGaussian | None:
    x = known.get(node.input[0])
    return None if x is None else x.clamp(0.0, math.inf)


def _clip(node: NodeProto, known: Distributions, graph: _TypedGraph) -> ClampedGaussian | None:
    x = known.get(node.input[0])
    bounds = [-math.inf, math.inf]
    for index in (1, 2):
        if len(node.input) > index and node.input[index]:
            value = graph.constant(node, index)
            if value is None:
                return None
            bounds[index - 1] = float(value.reshape(()))
    return None if x is None else x.clamp(bounds[0], bounds[1])


def _add(node: NodeProto, known: Distributions, graph: _TypedGraph) -> ClampedGaussian | None:
    first, second = (known.get(name) for name in node.input)
    if first is not None and second is not None:
        return _sum(first, second)
    x, other = (first, node.input[1]) if first is not None else (second, node.input[0])
    offset = graph.view.constant(other)
    rank = graph.rank(node.output[0])
    if x is None or offset is None or rank < 2 or offset.ndim > rank:
        return None
    channels = offset.reshape((1,) * (rank - offset.ndim) + offset.shape)
    if channels.size not in (1, x.mean.size) or channels.size != channels.shape[1]:
        return None
    return x.shift(channels.reshape(-1).astype(np.float64))


def _sum(first: ClampedGaussian, second: ClampedGaussian) -> ClampedGaussian | None:
    if first.mean.shape != second.mean.shape:
        return None
    deviation = np.sqrt(first.variance() + second.variance())
    return ClampedGaussian(
        first.expectation() + second.expectation(), deviation, first.low + second.low, first.high + second.high
    )


def _concat(node: NodeProto, known: Distributions, graph: _TypedGraph) -> ClampedGaussian | None:
    groups = [known[name] for name in node.input if name in known]
    if len(groups) < len(node.input) or attribute(node, "axis") not in (1, 1 - graph.rank(node.output[0])):
        return None
    return _joined(groups)


def _joined(groups: list[ClampedGaussian]) -> ClampedGaussian:
    fields = ("mean", "deviation", "low", "high")
    return ClampedGaussian(*(np.concatenate([getattr(group, field) for group in groups]) for field in fields))


def _pad(node: NodeProto, known: Distributions, graph: _TypedGraph) -> ClampedGaussian | None:
    x, rank = known.get(node.input[0]), graph.rank(node.input[0])
    pads, fill, axes = (graph.constant(node, index) for index in (1, 2, 3))
    if x is None or pads is None or rank < 2 or attribute(node, "mode", "constant") != "constant":
        return None
    full = np.zeros((2, rank), np.int64)
    full[:, np.arange(rank) if axes is None else axes] = pads.reshape(2, -1)
    value = np.array([0.0 if fill is None else float(fill.reshape(()))])
    before, after = full[:, 1].tolist()
    if before < 0 or after < 0:
        return None
    if not before and not after:
        return ClampedGaussian(x.mean, x.deviation, np.minimum(x.low, value), np.maximum(x.high, value))

    def constant(channels: int) -> ClampedGaussian:
        values = np.repeat(value, channels)
        return ClampedGaussian(values, np.zeros(channels), values, values)

    return _joined([constant(before), x, constant(after)])


def _slice(node: NodeProto, known: Distributions, graph: _TypedGraph) -> ClampedGaussian | None:
    x, rank = known.get(node.input[0]), graph.rank(node.input[0])
    starts, ends, axes, steps = (graph.constant(node, index) for index in (1, 2, 3, 4))
    if x is None or rank < 2 or starts is None or ends is None:
        return None
    sliced_axes = np.arange(starts.size) if axes is None else np.asarray(axes) % rank
    strides = np.ones_like(starts) if steps is None else steps
    index = slice(None)
    for axis, start, end, stride in zip(sliced_axes, starts, ends, strides, strict=True):
        if axis == 1:
            index = slice(int(start), int(end), int(stride))
    return ClampedGaussian(x.mean[index], x.deviation[index], x.low[index], x.high[index])


def _drop_unit_axes(node: NodeProto, known: Distributions, graph: _TypedGraph) -> ClampedGaussian | None:
    """Propagate [N, C, 1, …] → [N, C, …]; a reshape that could mix channels with other axes is not followed."""
    before, after = graph.info.get(node.input[0]), graph.info.get(node.output[0])
    if before is None or after is None or before.shape is None or after.shape is None or len(after.shape) < 2:
        return None
    pooled = all(size == 1 for size in before.shape[2:]) and all(size == 1 for size in after.shape[2:])
    return known.get(node.input[0]) if pooled and before.shape[1] == after.shape[1] else None


_PRESERVING = ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Resize", "Identity", "Dropout")

_RULES: dict[str, _Rule] = {
    "Relu": _relu,
    "Clip": _clip,
    "Add": _add,
    "Concat": _concat,
    "Pad": _pad,
    "Slice": _slice,
    **dict.fromkeys(_PRESERVING, _unchanged),
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze"), _drop_unit_axes),
}
