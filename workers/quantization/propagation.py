"""Propagation of BatchNorm's means and deviations through the graph, without data.

A folded convolution with BatchNorm gives channels N(β, γ²); those are the sources. From there distributions are
propagated in closed form: see `propagation_rules`. A tensor that no rule reaches (after a convolution without
statistics, a channel shuffle, an axis that is not known to be the channels') has no distribution, and is measured in
forward passes instead. Propagation assumes nothing of a graph: what a rule gives is kept only if it fits the shape.
"""

from __future__ import annotations

import numpy as np
from onnx import ModelProto

from faceter.graphs.shapes import infer_shapes
from faceter.graphs.view import GraphView, is_standard
from workers.quantization.gaussian import ClampedGaussian
from workers.quantization.propagation_rules import RULES, Distributions, TypedGraph

_CHANNEL_AXIS = 1


def propagate(model: ModelProto, sources: Distributions) -> dict[str, ClampedGaussian]:
    """Propagate distributions of channels forward through a graph.

    Args:
        model: A canonical model of opset 13 or later.
        sources: Distributions of tensors with channels on axis 1, such as outputs of convolutions.

    Returns:
        Distributions of all tensors that can be reached, the sources included.
    """
    graph = TypedGraph(GraphView(model), infer_shapes(model))
    known = dict(sources)
    for node in model.graph.node:
        rule = RULES.get(node.op_type) if is_standard(node) else None
        if rule is None:
            continue
        for name, distribution in zip(node.output, rule(node, known, graph), strict=False):
            if name and name not in known and distribution is not None and _fits(graph, name, distribution):
                known[name] = distribution
    return known


def _fits(graph: TypedGraph, name: str, distribution: ClampedGaussian) -> bool:
    """Whether a distribution is sound and, where the tensor's shape is known, has one entry for each channel."""
    shape = graph.shape(name)
    if shape is not None:
        if len(shape) <= _CHANNEL_AXIS:
            return False
        channels = shape[_CHANNEL_AXIS]
        if isinstance(channels, int) and channels != distribution.mean.size:
            return False
    centred = np.isfinite(distribution.mean).all() and np.isfinite(distribution.deviation).all()
    return bool(centred and np.all(distribution.low <= distribution.high))
