"""Reshape to a size that was fixed on export: the target follows the input again."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np
import onnx

from faceter.graphs.size_formulas import OpeningContext, SizeFormula
from faceter.graphs.size_probes import PROBES, FixedSizeError, Sizes, follows
from faceter.graphs.view import attribute, node_name, set_attribute

_DOMINANT = 4
"""When an axis is split and nothing tells which part follows the input, the first one does if it is this many times
larger than the others: a block of pixels is small, and their number is large."""

_MAX_TRIED = 4096


@dataclass(frozen=True)
class _AxisGroup:
    """Consecutive axes before and after a Reshape with the same number of elements; half-open ranges."""

    before: range
    after: range


def open_reshape(node: onnx.NodeProto, context: OpeningContext) -> list[onnx.NodeProto] | None:
    """Return the nodes that replace a Reshape whose target does not follow its input; None to keep it.

    The axes before and after are split into the smallest groups of equal numbers of elements at the model's own size;
    each must have equal numbers at every size.

    Raises:
        FixedSizeError: If it cannot be told which axis of the target follows the input.
    """
    source, target = context.tensors[node.input[0]], context.tensors[node.input[1]]
    if not any(follows(sizes) for sizes in source.sizes):
        return None
    if target.values is None:
        raise FixedSizeError(f"the target of Reshape {node_name(node)!r} depends on values")
    resolved = [_resolved(value, shape) for value, shape in zip(target.values, source.shapes, strict=True)]
    own = resolved[0]
    if own is None or 0 in source.own:
        raise FixedSizeError(f"Reshape {node_name(node)!r} does not fit its own input")
    groups = list(_groups(source.own, own))
    if _keeps_groups(groups, source.shapes, resolved):
        return None
    formulas: list[SizeFormula] = []
    for group in groups:
        formulas += _solve(node, context, group, own)
    return _nodes(node, context, formulas)


def _resolved(target: np.ndarray[tuple[int, ...], np.dtype[np.int64]], shape: Sequence[int]) -> list[int] | None:
    """Return a target without 0 and −1; None if it does not fit the input."""
    entries = [int(entry) for entry in target.reshape(-1)]
    if any(entry == 0 and index >= len(shape) for index, entry in enumerate(entries)):
        return None
    sizes = [shape[index] if entry == 0 else entry for index, entry in enumerate(entries)]
    known = prod(size for size in sizes if size != -1)
    if -1 in sizes:
        if not known or prod(shape) % known:
            return None
        sizes[sizes.index(-1)] = prod(shape) // known
    return sizes if prod(sizes) == prod(shape) else None


def _groups(before: Sequence[int], after: Sequence[int]) -> Iterator[_AxisGroup]:
    first, second = 0, 0
    while first < len(before) and second < len(after):
        start, begin = first, second
        left, right = before[first], after[second]
        first, second = first + 1, second + 1
        while left != right:
            if left < right:
                left, first = left * before[first], first + 1
            else:
                right, second = right * after[second], second + 1
        rest_before, rest_after = before[first:], after[second:]
        if prod(rest_before) == 1 and (not rest_before or not rest_after):
            first, second = len(before), len(after)
        yield _AxisGroup(range(start, first), range(begin, second))


def _keeps_groups(
    groups: Sequence[_AxisGroup], before: Sequence[Sequence[int]], after: Sequence[Sequence[int] | None]
) -> bool:
    return all(
        result is not None
        and all(
            prod(shape[axis] for axis in group.before) == prod(result[axis] for axis in group.after) for group in groups
        )
        for shape, result in zip(before, after, strict=True)
    )


def _solve(
    node: onnx.NodeProto, context: OpeningContext, group: _AxisGroup, own: Sequence[int]
) -> Sequence[SizeFormula]:
    """Return the formulas of the axes after the Reshape in one group."""
    name, source = node.input[0], context.tensors[node.input[0]]
    wanted = [own[axis] for axis in group.after]
    given = [source.sizes[axis] for axis in group.before]
    if not any(follows(sizes) for sizes in given):
        return [SizeFormula(multiplier=size) for size in wanted]
    if wanted == [sizes[0] for sizes in given]:
        return [
            SizeFormula(((name, axis),)) if follows(sizes) else SizeFormula(multiplier=sizes[0])
            for axis, sizes in zip(group.before, given, strict=True)
        ]
    total = SizeFormula(
        tuple((name, axis) for axis, sizes in zip(group.before, given, strict=True) if follows(sizes)),
        prod(sizes[0] for sizes in given if not follows(sizes)),
    )
    large = [index for index, size in enumerate(wanted) if size != 1]
    if len(large) < 2:
        place = large[0] if large else 0
        return [total if index == place else SizeFormula() for index in range(len(wanted))]
    totals = tuple(prod(sizes[probe] for sizes in given) for probe in range(PROBES))
    found = _like_earlier(context, own, group, totals) or _from_known(context, wanted, totals)
    if found is not None:
        return found
    # Pixel unshuffling and windows: a number of blocks of a fixed size, in this order.
    first, block = wanted[large[0]], prod(wanted) // wanted[large[0]]
    if first >= _DOMINANT * block and all(value % block == 0 for value in totals):
        part = SizeFormula(total.factors, total.multiplier, block)
        return [part if index == large[0] else SizeFormula(multiplier=size) for index, size in enumerate(wanted)]
    raise FixedSizeError(
        f"Reshape {node_name(node)!r} makes {wanted} of {[sizes[0] for sizes in given]}, and nothing tells which of "
        "these numbers follows the size of the input"
    )


def _like_earlier(
    context: OpeningContext, own: Sequence[int], group: _AxisGroup, totals: Sizes
) -> list[SizeFormula] | None:
    """Return the sizes of the latest tensor of the shape after the Reshape, if their product is right."""
    name = context.like(own)
    if name is None:
        return None
    sizes = [context.tensors[name].sizes[axis] for axis in group.after]
    if any(prod(part[probe] for part in sizes) != total for probe, total in enumerate(totals)):
        return None
    return [
        SizeFormula(((name, axis),)) if follows(part) else SizeFormula(multiplier=part[0])
        for axis, part in zip(group.after, sizes, strict=True)
    ]


def _from_known(context: OpeningContext, wanted: Sequence[int], totals: Sizes) -> list[SizeFormula] | None:
    """Return sizes of earlier tensors whose product is right, in their order; None if there is no single choice."""
    candidates = [[(size,) * PROBES, *context.candidates(size)] for size in wanted]
    if prod(len(options) for options in candidates) > _MAX_TRIED:
        return None
    solutions = [
        choice
        for choice in product(*candidates)
        if all(prod(sizes[probe] for sizes in choice) == total for probe, total in enumerate(totals))
    ]
    # Solutions that differ in nothing but the order of the followed sizes: rows come before columns.
    if len({tuple(follows(sizes) for sizes in choice) for choice in solutions}) != 1:
        return None
    if len({tuple(sorted(choice)) for choice in solutions}) != 1:
        return None
    formulas = [context.formula(sizes) for sizes in solutions[0]]
    return [formula for formula in formulas if formula is not None]


def _nodes(node: onnx.NodeProto, context: OpeningContext, formulas: Sequence[SizeFormula]) -> list[onnx.NodeProto]:
    changed = onnx.NodeProto()
    changed.CopyFrom(node)
    if attribute(node, "allowzero", 0):
        set_attribute(changed, "allowzero", 0)
    copied = [formula == SizeFormula(((node.input[0], axis),)) for axis, formula in enumerate(formulas)]
    computed = [bool(formula.factors) and not same for formula, same in zip(formulas, copied, strict=True)]
    if sum(computed) > 1:
        nodes, changed.input[1] = context.shape_nodes(node.output[0], formulas)
        return [*nodes, changed]
    entries = [
        0 if same else -1 if inferred else formula.multiplier
        for formula, same, inferred in zip(formulas, copied, computed, strict=True)
    ]
    changed.input[1] = context.constant(f"{node.output[0]}/shape", np.array(entries, np.int64))
    return [changed]
