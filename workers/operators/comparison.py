"""Comparisons, logic and bits."""

import torch
from torch import Tensor

from workers.operators.node import Node, TorchOperator
from workers.operators.tensors import widened


def equal(node: Node, a: Tensor, b: Tensor) -> Tensor:
    """A = b."""
    return torch.eq(a, b)


@widened
def greater(node: Node, a: Tensor, b: Tensor) -> Tensor:
    """A > b."""
    return torch.gt(a, b)


@widened
def greater_or_equal(node: Node, a: Tensor, b: Tensor) -> Tensor:
    """A ≥ b."""
    return torch.ge(a, b)


@widened
def less(node: Node, a: Tensor, b: Tensor) -> Tensor:
    """A < b."""
    return torch.lt(a, b)


@widened
def less_or_equal(node: Node, a: Tensor, b: Tensor) -> Tensor:
    """A ≤ b."""
    return torch.le(a, b)


def logical_and(node: Node, a: Tensor, b: Tensor) -> Tensor:
    """Both."""
    return torch.logical_and(a, b)


def logical_or(node: Node, a: Tensor, b: Tensor) -> Tensor:
    """Either or both."""
    return torch.logical_or(a, b)


def logical_xor(node: Node, a: Tensor, b: Tensor) -> Tensor:
    """Either, not both."""
    return torch.logical_xor(a, b)


def logical_not(node: Node, a: Tensor) -> Tensor:
    """The opposite."""
    return torch.logical_not(a)


@widened
def bitwise_and(node: Node, a: Tensor, b: Tensor) -> Tensor:
    """Bits set in both."""
    return torch.bitwise_and(a, b)


@widened
def bitwise_or(node: Node, a: Tensor, b: Tensor) -> Tensor:
    """Bits set in either."""
    return torch.bitwise_or(a, b)


@widened
def bitwise_xor(node: Node, a: Tensor, b: Tensor) -> Tensor:
    """Bits that differ."""
    return torch.bitwise_xor(a, b)


@widened
def bitwise_not(node: Node, a: Tensor) -> Tensor:
    """All bits inverted."""
    return torch.bitwise_not(a)


@widened
def bit_shift(node: Node, a: Tensor, count: Tensor) -> Tensor:
    """Shift bits left or right by a count."""
    return (
        torch.bitwise_left_shift(a, count) if node.text("direction") == "LEFT" else torch.bitwise_right_shift(a, count)
    )


def is_nan(node: Node, x: Tensor) -> Tensor:
    """Whether x is NaN."""
    return torch.isnan(x)


def is_infinite(node: Node, x: Tensor) -> Tensor:
    """Whether x is infinite, of the detected signs."""
    infinite = torch.zeros_like(x, dtype=torch.bool)
    if node.integer("detect_positive", 1):
        infinite = infinite | torch.isposinf(x)
    if node.integer("detect_negative", 1):
        infinite = infinite | torch.isneginf(x)
    return infinite


def where(node: Node, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """A where the condition is true, b elsewhere."""
    return torch.where(condition, a, b)


OPERATORS = {
    "Equal": TorchOperator(equal),
    "Greater": TorchOperator(greater),
    "GreaterOrEqual": TorchOperator(greater_or_equal),
    "Less": TorchOperator(less),
    "LessOrEqual": TorchOperator(less_or_equal),
    "And": TorchOperator(logical_and),
    "Or": TorchOperator(logical_or),
    "Xor": TorchOperator(logical_xor),
    "Not": TorchOperator(logical_not),
    "BitwiseAnd": TorchOperator(bitwise_and),
    "BitwiseOr": TorchOperator(bitwise_or),
    "BitwiseXor": TorchOperator(bitwise_xor),
    "BitwiseNot": TorchOperator(bitwise_not),
    "BitShift": TorchOperator(bit_shift),
    "IsNaN": TorchOperator(is_nan),
    "IsInf": TorchOperator(is_infinite),
    "Where": TorchOperator(where),
}
