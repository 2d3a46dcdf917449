"""The range of a tensor that its readers tell apart: a sigmoid answers 0 or 1 to whatever lies far outside.

Steps are better spent inside. With 8 bits over ±7 a sigmoid's result errs by at most 0.007 where it is steepest, and
by 0.0009 at the ends.
"""

from __future__ import annotations

from onnx import NodeProto

from faceter.graphs.quantization_sites import clamp_of, moved_tensors
from faceter.graphs.view import GraphView, attribute, is_standard
from workers.quantization.known_ranges import KnownRange

_SATURATED = {"Sigmoid": 7.0, "Tanh": 4.0}
"""Magnitude beyond which a function hardly changes."""


def range_for_readers(view: GraphView, tensor: str) -> KnownRange | None:
    """Return the range outside of which no reader of a tensor changes; None if there is none."""
    readers = view.consumers.get(tensor, [])
    if tensor in view.outputs or not readers:
        return None
    found = [_range_for(view, reader, tensor) for reader in readers]
    ranges = [item for item in found if item is not None]
    if len(ranges) < len(found):
        return None
    return KnownRange(min(item.low for item in ranges), max(item.high for item in ranges))


def _range_for(view: GraphView, reader: NodeProto, tensor: str) -> KnownRange | None:
    if not is_standard(reader):
        return None
    if reader.op_type in _SATURATED:
        limit = _SATURATED[reader.op_type]
        return KnownRange(-limit, limit)
    if reader.op_type == "HardSigmoid":
        alpha, beta = attribute(reader, "alpha", 0.2), attribute(reader, "beta", 0.5)
        return KnownRange(-beta / alpha, (1 - beta) / alpha) if alpha > 0 else None
    if reader.op_type == "Clip" and (bounds := clamp_of(view, reader)) is not None and bounds[0] < bounds[1]:
        return KnownRange(*bounds)
    if tensor in moved_tensors(view, reader):
        outputs = [range_for_readers(view, name) for name in reader.output if name]
        ranges = [item for item in outputs if item is not None]
        if ranges and len(ranges) == len(outputs):
            return KnownRange(min(item.low for item in ranges), max(item.high for item in ranges))
    return None
