"""Constants that were made for one size of the input: operands of that size, and numbers of positions."""

from collections.abc import Sequence

import numpy as np
import onnx

from faceter.graphs.size_formulas import OpeningContext, SizeFormula
from faceter.graphs.size_probes import FixedSizeError, follows
from faceter.graphs.view import Array, attribute, node_name

_LEAST_COUNT = 16
"""Smaller numbers are more likely weights than numbers of positions."""
_REDUCTIONS = frozenset({"ReduceSum", "ReduceMean", "ReduceSumSquare", "ReduceL2", "GlobalAveragePool"})
_PASSED_ON = frozenset({"Add", "Cast", "Div", "Expand", "Mul", "Reshape", "Sqrt", "Squeeze", "Unsqueeze"})


def open_operands(node: onnx.NodeProto, context: OpeningContext) -> list[onnx.NodeProto] | None:
    """Return an elementwise operator whose constant operands fit any size; None if they did.

    A constant as large as the input at its own size is reduced to one along the axes where it does not vary. A number
    of positions, by which a sum is divided, is counted.

    Raises:
        FixedSizeError: If a constant varies along an axis that follows the input.
    """
    counted = _counted(node, context) if node.op_type in ("Mul", "Div") else None
    if counted is not None:
        return counted
    rank = max(len(context.tensors[name].own) for name in node.input)
    followed = [False] * rank
    for name in node.input:
        for place, sizes in enumerate(reversed(context.tensors[name].sizes), start=1):
            followed[-place] |= follows(sizes)
    changed = onnx.NodeProto()
    changed.CopyFrom(node)
    for index, name in enumerate(node.input):
        value = context.view.constant(name)
        if value is not None:
            axes = [axis for axis in range(value.ndim) if followed[rank - value.ndim + axis] and value.shape[axis] > 1]
            if axes:
                changed.input[index] = context.constant(f"{name}/any_size", _without(node, name, value, axes))
    return None if changed == node else [changed]


def open_concat(node: onnx.NodeProto, context: OpeningContext) -> list[onnx.NodeProto] | None:
    """Return a Concat whose constant parts follow the size of the others; None if they did.

    Raises:
        FixedSizeError: If a constant part varies along an axis that follows the input.
    """
    model = next((name for name in node.input if any(map(follows, context.tensors[name].sizes))), None)
    if model is None:
        return None
    sizes = context.tensors[model].sizes
    joined = attribute(node, "axis") % len(sizes)
    changed, nodes = onnx.NodeProto(), []
    changed.CopyFrom(node)
    for index, name in enumerate(node.input):
        value = context.view.constant(name)
        axes = [axis for axis, part in enumerate(sizes) if axis != joined and follows(part)]
        if value is None or not axes:
            continue
        small = context.constant(f"{name}/any_size", _without(node, name, value, axes))
        formulas = [
            SizeFormula(((model, axis),)) if axis in axes else SizeFormula(multiplier=value.shape[axis])
            for axis in range(value.ndim)
        ]
        added, shape = context.shape_nodes(node.output[0], formulas)
        changed.input[index] = context.view.unique(f"{name}/expanded")
        nodes += [*added, onnx.helper.make_node("Expand", [small, shape], [changed.input[index]])]
    return [*nodes, changed] if nodes else None


def note_counts(node: onnx.NodeProto, context: OpeningContext) -> None:
    """Record over how many positions a tensor is summed or averaged, if that number follows the input."""
    if node.op_type in _PASSED_ON:
        for name in node.input:
            if name in context.counts:
                context.counts[node.output[0]] = context.counts[name]
    if node.op_type not in _REDUCTIONS:
        return
    sizes = context.tensors[node.input[0]].sizes
    axes = attribute(
        node, "axes", list(range(2, len(sizes)) if node.op_type.startswith("Global") else range(len(sizes)))
    )
    if len(node.input) > 1 and node.input[1]:
        value = context.tensors[node.input[1]].constant
        axes = [] if value is None else value.reshape(-1).tolist()
    reduced = [axis % len(sizes) for axis in axes]
    factors = tuple((node.input[0], axis) for axis in reduced if follows(sizes[axis]))
    if factors:
        fixed = int(np.prod([sizes[axis][0] for axis in reduced if not follows(sizes[axis])], dtype=np.int64))
        context.counts[node.output[0]] = SizeFormula(factors, fixed)


def _without(node: onnx.NodeProto, name: str, value: Array, axes: Sequence[int]) -> Array:
    """Return a constant with size 1 along axes that it does not vary along."""
    small = value[tuple(slice(0, 1) if axis in axes else slice(None) for axis in range(value.ndim))]
    if not np.array_equal(np.broadcast_to(small, value.shape), value):
        raise FixedSizeError(
            f"{node.op_type} {node_name(node)!r} uses the constant {name!r} of shape {list(value.shape)}, which is "
            "made for one size"
        )
    return np.ascontiguousarray(small)


def _counted(node: onnx.NodeProto, context: OpeningContext) -> list[onnx.NodeProto] | None:
    """Return a product or quotient with the number of positions counted, where the constant is that number."""
    for index, name in enumerate(node.input):
        value, formula = context.view.constant(name), context.counts.get(node.input[1 - index])
        if value is None or value.size != 1 or formula is None or value.dtype.kind != "f":
            continue
        number = float(value.reshape(-1)[0])
        count = formula.multiplier * int(np.prod([context.tensors[part].own[axis] for part, axis in formula.factors]))
        if count < _LEAST_COUNT:
            continue
        if not any(np.isclose(number, wanted, rtol=1e-6, atol=0) for wanted in (count, count - 1, 1 / count)):
            continue
        nodes, vector = context.shape_nodes(node.output[0], [formula])

        def node_of(operator: str, inputs: list[str], to: int | None = None) -> str:
            result = context.view.unique(f"{node.output[0]}/count")
            nodes.append(onnx.helper.make_node(operator, inputs, [result], result, to=to))  # noqa: B023
            return result

        last = node_of("Cast", [vector], onnx.helper.np_dtype_to_tensor_dtype(value.dtype))
        one = context.constant(f"{name}/one", np.ones(1, value.dtype))
        if np.isclose(number, count - 1, rtol=1e-6, atol=0) and not np.isclose(number, count, rtol=1e-9, atol=0):
            last = node_of("Sub", [last, one])
        elif number < 1:
            last = node_of("Div", [one, last])
        changed = onnx.NodeProto()
        changed.CopyFrom(node)
        changed.input[index] = last
        return [*nodes, changed]
    return None
