"""Operators that fixed the size of their input on export, rewritten to follow it.

A rule returns the nodes that replace a node, or None to keep it, and raises `FixedSizeError` where the node fixes the
size and nothing tells how it would follow another.
"""

from collections.abc import Callable

import numpy as np
import onnx

from faceter.graphs.size_constants import open_concat, open_operands
from faceter.graphs.size_formulas import OpeningContext, SizeFormula
from faceter.graphs.size_probes import FixedSizeError, ProbedTensor, follows
from faceter.graphs.size_reshape import open_reshape
from faceter.graphs.view import attribute, node_name

Rule = Callable[[onnx.NodeProto, OpeningContext], list[onnx.NodeProto] | None]

_LARGEST_FIXED_END = 8
"""A Slice that ends before this position takes a border of fixed width."""
_SMALLEST_POOLED = 4
"""A pooling window as large as its whole input is a global pooling from this size on."""
_TO_THE_END = np.iinfo(np.int64).max


def open_node(node: onnx.NodeProto, context: OpeningContext) -> list[onnx.NodeProto] | None:
    """Apply the rule of a node's operator."""
    rule = _RULES.get(node.op_type)
    return None if rule is None else rule(node, context)


def _title(node: onnx.NodeProto) -> str:
    return f"{node.op_type} {node_name(node)!r}"


def _copy(node: onnx.NodeProto) -> onnx.NodeProto:
    changed = onnx.NodeProto()
    changed.CopyFrom(node)
    return changed


def _optional(node: onnx.NodeProto, context: OpeningContext, index: int) -> ProbedTensor | None:
    present = len(node.input) > index and node.input[index]
    return context.tensors[node.input[index]] if present else None


def _expand(node: onnx.NodeProto, context: OpeningContext) -> list[onnx.NodeProto] | None:
    source, shape = context.tensors[node.input[0]], context.tensors[node.input[1]].constant
    if shape is None:
        return None
    entries = [int(entry) for entry in shape.reshape(-1)]
    for place, sizes in enumerate(reversed(source.sizes[-len(entries) :]), start=1):
        if follows(sizes) and place <= len(entries) and entries[-place] == sizes[0]:
            entries[-place] = 1  # 1 keeps the size of the input
    name = context.like(entries)
    if name is not None:  # one value, repeated for every position of that tensor
        formulas = [
            SizeFormula(((name, axis),)) if follows(part) else SizeFormula(multiplier=part[0])
            for axis, part in enumerate(context.tensors[name].sizes)
        ]
        nodes, vector = context.shape_nodes(node.output[0], formulas)
        changed = _copy(node)
        changed.input[1] = vector
        return [*nodes, changed]
    if entries == shape.reshape(-1).tolist():
        return None
    changed = _copy(node)
    changed.input[1] = context.constant(f"{node.output[0]}/shape", np.array(entries, np.int64))
    return [changed]


def _resize(node: onnx.NodeProto, context: OpeningContext) -> list[onnx.NodeProto] | None:
    """Constant sizes become scales, or follow the tensor that they were taken from."""
    source, sizes = context.tensors[node.input[0]], _optional(node, context, 3)
    wanted = None if sizes is None else sizes.constant
    if sizes is None or wanted is None or attribute(node, "keep_aspect_ratio_policy", "stretch") != "stretch":
        return None
    axes = [int(axis) % len(source.own) for axis in attribute(node, "axes", list(range(len(source.own))))]
    given = [source.sizes[axis] for axis in axes]
    targets = [int(size) for size in wanted.reshape(-1)]
    followed = any(follows(part) for part in given)
    if followed and all(_is_exact(part[0], target) for part, target in zip(given, targets, strict=True)):
        scales = [target / part[0] for part, target in zip(given, targets, strict=True)]
        changed = _copy(node)
        changed.input[2] = context.constant(f"{node.output[0]}/scales", np.array(scales, np.float32))
        del changed.input[3:]
        return [changed]
    name = context.like(targets[2:], first=2) if axes == list(range(len(source.own))) else None
    if name is None:
        if not followed:
            return None
        raise FixedSizeError(f"{_title(node)} resizes {[part[0] for part in given]} to {targets}, by no simple factor")
    formulas = [SizeFormula(multiplier=target) for target in targets[:2]]
    formulas += [SizeFormula(((name, axis),)) for axis in range(2, len(targets))]
    nodes, vector = context.shape_nodes(node.output[0], formulas)
    changed = _copy(node)
    changed.input[3] = vector
    return [*nodes, changed]


def _is_exact(size: int, target: int) -> bool:
    """Whether the factor is a whole number or one over a power of two, and so the same size at any other size."""
    factor = size // target if target and size % target == 0 else 0
    return target % size == 0 or (factor > 0 and factor & (factor - 1) == 0)


def _slice(node: onnx.NodeProto, context: OpeningContext) -> list[onnx.NodeProto] | None:
    if len(node.input) < 3:
        raise FixedSizeError(f"{_title(node)} is of an opset before 10")
    source, starts, ends = (context.tensors[name] for name in node.input[:3])
    if starts.constant is None or ends.constant is None:
        return None
    given = _optional(node, context, 3)
    rank = len(source.own)
    axes = range(ends.constant.size) if given is None or given.constant is None else given.constant.reshape(-1).tolist()
    new = ends.constant.astype(np.int64).reshape(-1).copy()
    for index, axis in enumerate(axes):
        sizes, start = source.sizes[int(axis) % rank], int(starts.constant.reshape(-1)[index])
        if not follows(sizes) or not 0 <= new[index] < _TO_THE_END:
            continue
        if new[index] >= sizes[0] and start < _LARGEST_FIXED_END:
            new[index] = _TO_THE_END
        elif max(new[index], start) > _LARGEST_FIXED_END:
            raise FixedSizeError(
                f"{_title(node)} takes {start} to {new[index]} of {sizes[0]}, and nothing tells how these follow "
                "the size"
            )
    if np.array_equal(new, ends.constant.reshape(-1)):
        return None
    changed = _copy(node)
    changed.input[2] = context.constant(f"{node.output[0]}/ends", new)
    if starts.constant.dtype != np.int64:  # starts, ends, axes and steps have one type
        for index in (1, 3, 4):
            part = _optional(node, context, index)
            if part is not None and part.constant is not None:
                changed.input[index] = context.constant(f"{node.output[0]}/part", part.constant.astype(np.int64))
    return [changed]


def _pool(node: onnx.NodeProto, context: OpeningContext) -> list[onnx.NodeProto] | None:
    """A window as large as its input, as an adaptive pooling to 1 × 1 is exported, becomes a global pooling."""
    source = context.tensors[node.input[0]]
    space = source.sizes[2:]
    kernel = attribute(node, "kernel_shape", [])
    whole = kernel == [sizes[0] for sizes in space] and not any(attribute(node, "pads", []))
    if not whole or len(node.output) > 1 or not any(follows(sizes) for sizes in space):
        return None
    if min(kernel) < _SMALLEST_POOLED:
        return None
    return [onnx.helper.make_node(f"Global{node.op_type}", [node.input[0]], [node.output[0]], node.name)]


def _indexed(node: onnx.NodeProto, context: OpeningContext) -> None:
    """Constant indices into an axis that follows the input reach a part of it only."""
    source, indices = context.tensors[node.input[0]], context.tensors[node.input[1]]
    if follows(indices.sizes[-1]) if indices.sizes else True:
        return
    if any(follows(sizes) for sizes in indices.sizes) or context.view.constant(node.input[1]) is None:
        return
    axis = attribute(node, "axis", 0) % max(len(source.own), 1)
    named = [axis] if node.op_type in ("Gather", "GatherElements", "ScatterElements") else range(len(source.own))
    if any(follows(source.sizes[place]) for place in named) and indices.own and max(indices.own) > 1:
        raise FixedSizeError(f"{_title(node)} has constant indices, which are made for one size")


def _split(node: onnx.NodeProto, context: OpeningContext) -> None:
    source, given = context.tensors[node.input[0]], _optional(node, context, 1)
    axis = attribute(node, "axis", 0)
    value = None if given is None else given.constant
    parts = attribute(node, "split") if value is None else value.tolist()
    if parts is not None and follows(source.sizes[axis]):
        raise FixedSizeError(f"{_title(node)} splits {source.own[axis]} into {parts}")


def _scaled_norm(node: onnx.NodeProto, context: OpeningContext) -> None:
    sizes = context.tensors[node.input[0]].sizes
    if any(follows(part) for part in sizes[attribute(node, "axis", -1) :]):
        raise FixedSizeError(f"{_title(node)} normalizes over the size with a weight for each position")


def _recurrent(node: onnx.NodeProto, context: OpeningContext) -> list[onnx.NodeProto] | None:
    """Constant initial states of zero are what an operator starts from without any."""
    steps, batch = context.tensors[node.input[0]].sizes[:2]
    changed = _copy(node)
    for index in (5, 6) if follows(batch) else ():
        value = context.view.constant(node.input[index]) if len(node.input) > index and node.input[index] else None
        if value is not None and np.any(value):
            raise FixedSizeError(f"{_title(node)} has constant initial states for {batch[0]} samples")
        if value is not None:
            changed.input[index] = ""
    lengths = _optional(node, context, 4)
    if lengths is not None and lengths.constant is not None and (follows(steps) or follows(batch)):
        raise FixedSizeError(f"{_title(node)} has constant sequence lengths")
    return None if changed == node else [changed]


_RULES: dict[str, Rule] = {
    "Reshape": open_reshape,
    "Concat": open_concat,
    "Expand": _expand,
    "Resize": _resize,
    "Slice": _slice,
    "AveragePool": _pool,
    "MaxPool": _pool,
    "Split": _split,
    "LayerNormalization": _scaled_norm,
    **dict.fromkeys(("Gather", "GatherElements", "GatherND", "ScatterElements", "ScatterND"), _indexed),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _recurrent),
    **dict.fromkeys(
        (
            "Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Mean", "Sum", "Where", "PRelu", "Mod",
            "And", "Or", "Xor", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual",
        ),
        open_operands,
    ),
}  # fmt: skip
