"""Making the batch axis of a graph dynamic that was exported with a fixed batch size."""

import numpy as np
import onnx

from faceter.graphs.shapes import infer_shapes
from faceter.graphs.view import GraphView, attribute


def with_dynamic_batch(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph with a dynamic batch axis where possible, for the torch interpreter (not for a runtime).

    Inputs and outputs of the fixed batch size B get a symbolic one. A Reshape of a tensor [B, …] to a constant shape
    [B, …] copies the first size of its input instead (0). Any other Reshape to a constant shape without −1 infers its
    first size (−1), as a channel shuffle needs, which joins batch and channels. With B samples the graph computes what
    it computed before. The caller must check that samples do not influence each other at other batch sizes.

    Args:
        model: A checked model; it is not changed.
    """
    initializers = {tensor.name for tensor in model.graph.initializer}
    sizes = {
        value.type.tensor_type.shape.dim[0].dim_value
        for value in model.graph.input
        if value.name not in initializers and value.type.tensor_type.shape.dim
    } - {0}
    if len(sizes) != 1:
        return model
    (batch,) = sizes
    shapes = infer_shapes(model)
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    view = GraphView(changed)
    for node in changed.graph.node:
        if node.op_type != "Reshape" or attribute(node, "allowzero", 0):
            continue
        target, source = view.constant(node.input[1]), shapes.get(node.input[0])
        first = source.shape[0] if source is not None and source.shape else None
        if target is None or not target.size or node.input[0] in initializers:
            continue
        copied = target.reshape(-1)[0] == batch and first == batch
        if copied or (target > 0).all():
            value = np.array([0 if copied else -1, *target.reshape(-1)[1:]], np.int64)
            node.input[1] = view.add_initializer(f"{node.input[1]}/dynamic", value)
    changed.graph.ClearField("value_info")
    for value in (*changed.graph.input, *changed.graph.output):
        dims = value.type.tensor_type.shape.dim
        if value.name not in initializers and dims and dims[0].dim_value == batch:
            dims[0].dim_param = "batch"
    return changed
