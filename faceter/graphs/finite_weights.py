"""Weights that are NaN or infinite, with which no range and no scale exists."""

from collections.abc import Iterator

import numpy as np
import onnx

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.graphs.shapes import FLOAT_TYPES, dtype_name
from faceter.graphs.view import GraphView, is_standard, node_name

_INFINITE_ALLOWED = frozenset(
    {"Add", "Sub", "Where", "Max", "Min", "Clip", "Expand", "Pad", "Concat", "Equal", "Identity", "Gather", "Slice"}
)
"""Operators for which infinity is a value as any other: masks before a softmax, bounds, fill values."""
_NAN_ALLOWED = frozenset({"Where", "Equal", "IsNaN"})


def check_finite_weights(model: onnx.ModelProto) -> None:
    """Check that every weight is finite.

    Raises:
        FaceterError: INVALID_MODEL, naming the first tensor that is not.
    """
    for detail in non_finite_weights(model):
        raise FaceterError(
            ProblemKind.INVALID_MODEL,
            f"{detail} So no range of values can be found, and nothing can be quantized. Training has probably "
            "diverged: take an earlier checkpoint, or mend the tensor, and upload the model again.",
        )


def non_finite_weights(model: onnx.ModelProto) -> Iterator[str]:
    """Yield a sentence for each weight that holds NaN, or infinity where that is no mask or bound."""
    view = GraphView(model)
    for tensor in model.graph.initializer:
        if dtype_name(tensor.data_type) not in FLOAT_TYPES:
            continue
        yield from _fault(view, tensor.name)
    for node in model.graph.node:
        if node.op_type == "Constant" and is_standard(node):
            yield from _fault(view, node.output[0])


def _fault(view: GraphView, name: str) -> Iterator[str]:
    value = view.constant(name)
    if value is None or value.dtype.name not in FLOAT_TYPES:
        return
    finite = np.isfinite(value)
    if finite.all():
        return
    kinds = _NAN_ALLOWED if np.isnan(value).any() else _INFINITE_ALLOWED
    readers = [node for node in view.consumers.get(name, []) if not (is_standard(node) and node.op_type in kinds)]
    if readers:
        count = int(finite.size - np.count_nonzero(finite))
        yield (
            f"The weight {name!r} of the node {node_name(readers[0])!r} holds {count:,} of {finite.size:,} values that "
            "are NaN or infinite."
        )
