"""Freeing the batch of a graph that was exported for a fixed one."""

from __future__ import annotations

import numpy as np
import onnx

from faceter.graphs.shapes import infer
from faceter.graphs.view import GraphView, attribute


def with_free_batch(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph with the batch left open, as far as that can be told; it is for an interpreter, not a runtime.

    Inputs and outputs of a fixed batch B get a named one. A Reshape whose target begins with B, of a tensor that begins
    with B, copies its first size instead; any other that fixes all sizes leaves the first open, as a shuffle of
    channels wants it, that has joined batch and channels. With B samples the graph computes what it did. Whether with
    more samples they still do not see each other is for the caller to try.

    Args:
        model: A checked model; it is not changed.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    sizes = {
        value.type.tensor_type.shape.dim[0].dim_value
        for value in model.graph.input
        if value.name not in weights and value.type.tensor_type.shape.dim
    } - {0}
    if len(sizes) != 1:
        return model
    (batch,) = sizes
    found = infer(model)
    freed = onnx.ModelProto()
    freed.CopyFrom(model)
    view = GraphView(freed)
    for node in freed.graph.node:
        if node.op_type != "Reshape" or attribute(node, "allowzero", 0):
            continue
        target, source = view.constant(node.input[1]), found.get(node.input[0])
        first = source.shape[0] if source is not None and source.shape else None
        if target is None or not target.size or node.input[0] in weights:
            continue
        copied = target.reshape(-1)[0] == batch and first == batch
        if copied or (target > 0).all():
            value = np.array([0 if copied else -1, *target.reshape(-1)[1:]], np.int64)
            node.input[1] = view.add_initializer(f"{node.input[1]}/free", value)
    freed.graph.ClearField("value_info")
    for value in (*freed.graph.input, *freed.graph.output):
        dims = value.type.tensor_type.shape.dim
        if value.name not in weights and dims and dims[0].dim_value == batch:
            dims[0].dim_param = "batch"
    return freed
