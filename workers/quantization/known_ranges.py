"""Ranges that are known without running the network: of pixels, of saturating functions, and of what follows them.

Sigmoid · 640 lies in 0 … 640, whatever the inputs are; noise shows only a part of that. Ranges are propagated by
interval arithmetic. A range is *attained* where some input reaches its ends, as far as the operators tell: those of
saturating functions are, and stay so through data movement and constants. Of the others (a clip that nothing may ever
reach, the difference of two ranges) it is only certain that nothing lies outside.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from onnx import ModelProto, NodeProto

from faceter.graphs.view import Array, GraphView, attribute, is_standard


@dataclass(frozen=True)
class KnownRange:
    """Bounds of all values of a tensor.

    Args:
        low: No value is smaller.
        high: No value is larger.
        attained: Whether values reach both ends.
    """

    low: float
    high: float
    attained: bool = False

    @property
    def is_bounded(self) -> bool:
        """Whether both ends are finite."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    def mapped(self, function: Callable[[Array], Array], *, attained: bool | None = None) -> KnownRange:
        """Return the range of a monotone function of the values."""
        with np.errstate(all="ignore"):
            ends = np.asarray(function(np.array([self.low, self.high], np.float64)), np.float64)
        return KnownRange(float(ends.min()), float(ends.max()), self.attained if attained is None else attained)


Ranges = Mapping[str, KnownRange]

_UNKNOWN = KnownRange(-math.inf, math.inf)

_SATURATING = {
    "Sigmoid": (0.0, 1.0),
    "HardSigmoid": (0.0, 1.0),
    "Softmax": (0.0, 1.0),
    "Tanh": (-1.0, 1.0),
    "Softsign": (-1.0, 1.0),
    "Erf": (-1.0, 1.0),
    "Sin": (-1.0, 1.0),
    "Cos": (-1.0, 1.0),
}
_MOVING = frozenset(
    {
        "DepthToSpace", "Dropout", "Expand", "Flatten", "GatherElements", "GatherND", "Identity", "MaxPool", "Reshape",
        "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze", "GlobalMaxPool", "ReduceMax",
        "ReduceMin",
    }
)  # fmt: skip
_AVERAGING = frozenset({"AveragePool", "GlobalAveragePool", "ReduceMean"})
_MONOTONE: dict[str, Callable[[Array], Array]] = {
    "Exp": np.exp,
    "Floor": np.floor,
    "Ceil": np.ceil,
    "Neg": np.negative,
    "Relu": lambda x: np.maximum(x, 0),
    "Round": np.rint,
    "Sqrt": lambda x: np.sqrt(np.maximum(x, 0)),
}


def known_ranges(model: ModelProto, inputs: Ranges) -> dict[str, KnownRange]:
    """Return the ranges that are known of a graph's float tensors, where both ends are finite.

    Args:
        model: A canonical model.
        inputs: Ranges of inputs, such as pixels after preprocessing.
    """
    view = GraphView(model)
    known = dict(inputs)
    for node in model.graph.node:
        if not is_standard(node):
            continue
        found = _range_of(view, node, known)
        if math.isnan(found.low) or math.isnan(found.high):
            continue
        if math.isfinite(found.low) or math.isfinite(found.high):
            known.update(dict.fromkeys((name for name in node.output if name), found))
    return {name: item for name, item in known.items() if item.is_bounded}


def _range_of(view: GraphView, node: NodeProto, known: Ranges) -> KnownRange:
    """Return the range of a node's outputs."""
    if node.op_type in _SATURATING:
        return KnownRange(*_SATURATING[node.op_type], attained=True)
    ranges = [_of(view, known, name) for name in node.input if name]
    if not ranges:
        return _UNKNOWN
    match node.op_type:
        case name if name in _MOVING:
            return ranges[0]
        case name if name in _AVERAGING:
            return replace(_joined([ranges[0], KnownRange(0, 0)]), attained=ranges[0].attained)
        case name if name in _MONOTONE:
            return ranges[0].mapped(_MONOTONE[name])
        case "Clip":
            return _clipped(view, node, ranges[0])
        case "Min" | "Max":
            reduce = min if node.op_type == "Min" else max
            return KnownRange(reduce(item.low for item in ranges), reduce(item.high for item in ranges))
        case "Add" | "Sub" | "Mul" | "Div" if len(ranges) == 2:
            return _arithmetic(node.op_type, *ranges, constant=_constants(view, node))
        case "Pow" if (exponent := view.constant(node.input[1])) is not None and np.all(exponent == 2):
            largest = max(abs(ranges[0].low), abs(ranges[0].high))
            return KnownRange(0.0, largest**2, ranges[0].attained)
        case "Abs":
            return KnownRange(0.0, max(abs(ranges[0].low), abs(ranges[0].high)), ranges[0].attained)
        case "Concat":
            return replace(_joined(ranges), attained=all(item.attained for item in ranges))
        case "Where" if len(ranges) == 3:
            return replace(_joined(ranges[1:]), attained=False)
        case "Gather":
            return ranges[0]
        case "Pad" if attribute(node, "mode", "constant") == "constant":
            fill = ranges[2] if len(node.input) > 2 and node.input[2] else KnownRange(0, 0)
            return replace(_joined([ranges[0], fill]), attained=ranges[0].attained)
        case "Resize" if attribute(node, "mode", "nearest") in ("nearest", "linear"):
            cropped = attribute(node, "coordinate_transformation_mode", "") == "tf_crop_and_resize"
            return _UNKNOWN if cropped else ranges[0]
        case _:
            return _UNKNOWN


def _of(view: GraphView, known: Ranges, name: str) -> KnownRange:
    """Return the range of a tensor, constant or not."""
    if name in known:
        return known[name]
    value = view.constant(name)
    if value is None or value.dtype.kind not in "fiu" or not value.size:
        return _UNKNOWN
    return KnownRange(float(value.min()), float(value.max()), attained=True)


def _constants(view: GraphView, node: NodeProto) -> bool:
    """Whether one of two inputs is constant."""
    return any(view.constant(name) is not None for name in node.input)


def _joined(ranges: list[KnownRange]) -> KnownRange:
    return KnownRange(min(item.low for item in ranges), max(item.high for item in ranges))


def _clipped(view: GraphView, node: NodeProto, x: KnownRange) -> KnownRange:
    bounds = [-math.inf, math.inf]
    for index, name in enumerate(list(node.input)[1:3]):
        value = view.constant(name) if name else None
        if value is not None and value.size == 1:
            bounds[index] = float(value.reshape(()))
    return x.mapped(lambda ends: np.minimum(np.maximum(ends, bounds[0]), bounds[1]))


def _arithmetic(operator: str, first: KnownRange, second: KnownRange, *, constant: bool) -> KnownRange:
    if operator == "Div" and second.low <= 0 <= second.high:
        return _UNKNOWN
    if not (first.is_bounded and second.is_bounded):
        return _UNKNOWN
    functions: dict[str, Callable[[float, float], float]] = {
        "Add": lambda a, b: a + b,
        "Sub": lambda a, b: a - b,
        "Mul": lambda a, b: a * b,
        "Div": lambda a, b: a / b,
    }
    ends = [functions[operator](a, b) for a in (first.low, first.high) for b in (second.low, second.high)]
    return KnownRange(min(ends), max(ends), constant and first.attained and second.attained)
