"""Elementwise arithmetic and functions."""

from functools import reduce

import torch
from torch import Tensor

from workers.operators.node import Node, TorchOperator
from workers.operators.tensors import WIDE_UNSIGNED, widened


@widened
def add(node: Node, a: Tensor, b: Tensor) -> Tensor:
    """A + b."""
    return a + b


@widened
def sub(node: Node, a: Tensor, b: Tensor) -> Tensor:
    """A − b."""
    return a - b


@widened
def mul(node: Node, a: Tensor, b: Tensor) -> Tensor:
    """A · b."""
    return a * b


@widened
def div(node: Node, a: Tensor, b: Tensor) -> Tensor:
    """A / b; integers are divided towards zero."""
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


@widened
def mod(node: Node, a: Tensor, b: Tensor) -> Tensor:
    """Remainder with the sign of b, or with the sign of a if ``fmod`` is set."""
    return torch.fmod(a, b) if node.integer("fmod") else torch.remainder(a, b)


def power(node: Node, base: Tensor, exponent: Tensor) -> Tensor:
    """Base to the exponent, in the base's type."""
    exponent = exponent.to(torch.int64) if exponent.dtype in WIDE_UNSIGNED else exponent
    wide = base.to(torch.int64) if base.dtype in WIDE_UNSIGNED else base
    return torch.pow(wide, exponent).to(base.dtype)


def total(node: Node, *terms: Tensor) -> Tensor:
    """Sum of the inputs, broadcast."""
    return reduce(torch.add, terms)


def mean(node: Node, *terms: Tensor) -> Tensor:
    """Mean of the inputs, broadcast."""
    return reduce(torch.add, terms) / len(terms)


@widened
def maximum(node: Node, *terms: Tensor) -> Tensor:
    """Largest of the inputs, broadcast."""
    return reduce(torch.maximum, terms)


@widened
def minimum(node: Node, *terms: Tensor) -> Tensor:
    """Smallest of the inputs, broadcast."""
    return reduce(torch.minimum, terms)


@widened
def clip(node: Node, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    """Clamp between two optional bounds; the maximum has precedence."""
    return x if low is None and high is None else torch.clamp(x, low, high)


def absolute(node: Node, x: Tensor) -> Tensor:
    """|x|."""
    return x if x.dtype in (torch.uint8, torch.uint16, torch.uint32, torch.uint64) else torch.abs(x)


def negative(node: Node, x: Tensor) -> Tensor:
    """−x."""
    return torch.neg(x)


@widened
def sign(node: Node, x: Tensor) -> Tensor:
    """−1, 0 or 1."""
    return torch.sign(x)


def ceil(node: Node, x: Tensor) -> Tensor:
    """Next integer upwards."""
    return torch.ceil(x)


def floor(node: Node, x: Tensor) -> Tensor:
    """Next integer downwards."""
    return torch.floor(x)


def nearest(node: Node, x: Tensor) -> Tensor:
    """Nearest integer, ties to even."""
    return torch.round(x)


def reciprocal(node: Node, x: Tensor) -> Tensor:
    """1 / x."""
    return torch.reciprocal(x)


def square_root(node: Node, x: Tensor) -> Tensor:
    """√x."""
    return root(x)


def root(x: Tensor) -> Tensor:
    """Return √x, with a gradient of 0 where x is 0.

    There the gradient is infinite, and that of √(a² + b²) in a and b, as in spectrograms, would not be a number.
    """
    if not (torch.is_grad_enabled() and x.requires_grad):
        return torch.sqrt(x)
    positive = x > 0
    return torch.where(positive, torch.sqrt(torch.where(positive, x, 1.0)), torch.sqrt(x.detach()))


def exponential(node: Node, x: Tensor) -> Tensor:
    """e^x."""
    return torch.exp(x)


def logarithm(node: Node, x: Tensor) -> Tensor:
    """Natural logarithm."""
    return torch.log(x)


def error_function(node: Node, x: Tensor) -> Tensor:
    """The Gauss error function."""
    return torch.erf(x)


def sine(node: Node, x: Tensor) -> Tensor:
    """Sine."""
    return torch.sin(x)


def cosine(node: Node, x: Tensor) -> Tensor:
    """Cosine."""
    return torch.cos(x)


def tangent(node: Node, x: Tensor) -> Tensor:
    """Tangent."""
    return torch.tan(x)


def arcsine(node: Node, x: Tensor) -> Tensor:
    """Inverse sine."""
    return torch.asin(x)


def arccosine(node: Node, x: Tensor) -> Tensor:
    """Inverse cosine."""
    return torch.acos(x)


def arctangent(node: Node, x: Tensor) -> Tensor:
    """Inverse tangent."""
    return torch.atan(x)


def hyperbolic_sine(node: Node, x: Tensor) -> Tensor:
    """Hyperbolic sine."""
    return torch.sinh(x)


def hyperbolic_cosine(node: Node, x: Tensor) -> Tensor:
    """Hyperbolic cosine."""
    return torch.cosh(x)


def inverse_hyperbolic_sine(node: Node, x: Tensor) -> Tensor:
    """Inverse hyperbolic sine."""
    return torch.asinh(x)


def inverse_hyperbolic_cosine(node: Node, x: Tensor) -> Tensor:
    """Inverse hyperbolic cosine."""
    return torch.acosh(x)


def inverse_hyperbolic_tangent(node: Node, x: Tensor) -> Tensor:
    """Inverse hyperbolic tangent."""
    return torch.atanh(x)


def identity(node: Node, x: Tensor) -> Tensor:
    """X unchanged."""
    return x


def dropout(
    node: Node, x: Tensor, ratio: Tensor | None = None, training: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """X unchanged; dropout by torch's generator only if ``training`` is true."""
    probability = node.number("ratio", 0.5) if ratio is None else float(ratio.item())
    if training is None or not training.item() or probability == 0:
        return x, torch.ones_like(x, dtype=torch.bool)
    kept = torch.rand_like(x) >= probability
    return x * kept / (1 - probability), kept


OPERATORS = {
    "Add": TorchOperator(add),
    "Sub": TorchOperator(sub),
    "Mul": TorchOperator(mul),
    "Div": TorchOperator(div),
    "Mod": TorchOperator(mod),
    "Pow": TorchOperator(power),
    "Sum": TorchOperator(total),
    "Mean": TorchOperator(mean),
    "Max": TorchOperator(maximum),
    "Min": TorchOperator(minimum),
    "Clip": TorchOperator(clip, non_trainable=(1, 2)),
    "Abs": TorchOperator(absolute),
    "Neg": TorchOperator(negative),
    "Sign": TorchOperator(sign),
    "Ceil": TorchOperator(ceil),
    "Floor": TorchOperator(floor),
    "Round": TorchOperator(nearest),
    "Reciprocal": TorchOperator(reciprocal),
    "Sqrt": TorchOperator(square_root),
    "Exp": TorchOperator(exponential),
    "Log": TorchOperator(logarithm),
    "Erf": TorchOperator(error_function),
    "Sin": TorchOperator(sine),
    "Cos": TorchOperator(cosine),
    "Tan": TorchOperator(tangent),
    "Asin": TorchOperator(arcsine),
    "Acos": TorchOperator(arccosine),
    "Atan": TorchOperator(arctangent),
    "Sinh": TorchOperator(hyperbolic_sine),
    "Cosh": TorchOperator(hyperbolic_cosine),
    "Asinh": TorchOperator(inverse_hyperbolic_sine),
    "Acosh": TorchOperator(inverse_hyperbolic_cosine),
    "Atanh": TorchOperator(inverse_hyperbolic_tangent),
    "Identity": TorchOperator(identity),
    "Dropout": TorchOperator(dropout, cpu_inputs=(1, 2)),
}
