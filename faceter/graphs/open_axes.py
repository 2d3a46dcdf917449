"""Axes of a graph's inputs whose size the file leaves open: unnamed, named, or an expression of names."""

import ast
import operator
from collections.abc import Callable, Iterable, Mapping

import onnx

_UNKNOWN_NAMES = frozenset({"?", "-1", "None", "none", "unknown", "unk"})
_MAX_EXPRESSION = 200
_LARGEST_SIZE = 2**31
_OPERATIONS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Div: operator.floordiv,
    ast.Mod: operator.mod,
}
_FUNCTIONS: dict[str, Callable[..., int]] = {"max": max, "Max": max, "min": min, "Min": min, "floor": int}


def clear_unknown_sizes(model: onnx.ModelProto) -> None:
    """Leave open, in place, every size of an input or output that exporters write for an unknown one.

    These are −1, for an input also 0, and names such as ``?``, which Paddle gives to every open axis, though these need
    not be equal.
    """
    initializers = {tensor.name for tensor in model.graph.initializer}
    inputs = {value.name for value in model.graph.input} - initializers
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        least = 1 if value.name in inputs else 0
        for size in value.type.tensor_type.shape.dim:
            unsized = size.HasField("dim_value") and size.dim_value < least
            if unsized or size.dim_param in _UNKNOWN_NAMES:
                size.Clear()


def symbols(size: str) -> set[str]:
    """Return the names in the size of an axis: itself, or those of an expression such as ``2*frames + 1``."""
    tree = _parsed(size)
    if tree is None:
        return {size}
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id not in _FUNCTIONS} or {size}


def evaluate(size: str, values: Mapping[str, int]) -> int | None:
    """Return the size of an axis for given values of its names.

    None if one is missing, if it is no expression, or if its value is no size of a tensor.
    """
    if size in values:
        return values[size]
    tree = _parsed(size)
    if tree is None:
        return None
    try:
        value = _value(tree.body, values)
    except (KeyError, ValueError, ZeroDivisionError, TypeError):
        return None
    return value if 0 < value <= _LARGEST_SIZE else None


def open_axes(shape: Iterable[int | str | None]) -> list[int]:
    """Return the axes of a shape that have no size."""
    return [axis for axis, size in enumerate(shape) if not isinstance(size, int)]


def _parsed(size: str) -> ast.Expression | None:
    if len(size) > _MAX_EXPRESSION:
        return None
    try:
        return ast.parse(size, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _value(node: ast.expr, values: Mapping[str, int]) -> int:
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return node.value
    if isinstance(node, ast.Name):
        return values[node.id]
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        return _OPERATIONS[type(node.op)](_value(node.left, values), _value(node.right, values))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        return _FUNCTIONS[node.func.id](*[_value(item, values) for item in node.args])
    raise ValueError(ast.dump(node)[:80])
