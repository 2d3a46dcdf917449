"""Activations: pointwise nonlinearities and the softmax family."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from workers.operators.node import Node, TorchOperator


def relu(node: Node, x: Tensor) -> Tensor:
    """max(x, 0)."""
    return torch.relu(x)


def leaky_relu(node: Node, x: Tensor) -> Tensor:
    """X where x ≥ 0, alpha · x elsewhere."""
    return functional.leaky_relu(x, node.number("alpha", 0.01))


def prelu(node: Node, x: Tensor, slope: Tensor) -> Tensor:
    """X where x ≥ 0, slope · x elsewhere."""
    return torch.where(x < 0, slope * x, x)


def thresholded_relu(node: Node, x: Tensor) -> Tensor:
    """X where x > alpha, 0 elsewhere."""
    return torch.where(x > node.number("alpha", 1.0), x, torch.zeros_like(x))


def elu(node: Node, x: Tensor) -> Tensor:
    """X where x ≥ 0, alpha · (e^x − 1) elsewhere."""
    return functional.elu(x, node.number("alpha", 1.0))


def celu(node: Node, x: Tensor) -> Tensor:
    """max(0, x) + min(0, alpha · (e^(x / alpha) − 1))."""
    return functional.celu(x, node.number("alpha", 1.0))


def selu(node: Node, x: Tensor) -> Tensor:
    """Gamma · x where x > 0, gamma · alpha · (e^x − 1) elsewhere."""
    alpha = node.number("alpha", 1.67326319217681884765625)
    return node.number("gamma", 1.05070102214813232421875) * functional.elu(x, alpha)


def gelu(node: Node, x: Tensor) -> Tensor:
    """X · Φ(x), exactly or by the tanh approximation."""
    return functional.gelu(x, approximate=node.text("approximate", "none"))


def sigmoid(node: Node, x: Tensor) -> Tensor:
    """1 / (1 + e^−x)."""
    return torch.sigmoid(x)


def hard_sigmoid(node: Node, x: Tensor) -> Tensor:
    """clip(alpha · x + beta, 0, 1)."""
    return (node.number("alpha", 0.2) * x + node.number("beta", 0.5)).clamp(0, 1)


def hard_swish(node: Node, x: Tensor) -> Tensor:
    """X · clip(x / 6 + 1/2, 0, 1)."""
    return functional.hardswish(x)


def swish(node: Node, x: Tensor) -> Tensor:
    """X · sigmoid(alpha · x)."""
    return x * torch.sigmoid(node.number("alpha", 1.0) * x)


def mish(node: Node, x: Tensor) -> Tensor:
    """X · tanh(softplus(x))."""
    return functional.mish(x)


def tanh(node: Node, x: Tensor) -> Tensor:
    """Hyperbolic tangent."""
    return torch.tanh(x)


def softplus(node: Node, x: Tensor) -> Tensor:
    """log(1 + e^x)."""
    return functional.softplus(x)


def softsign(node: Node, x: Tensor) -> Tensor:
    """X / (1 + |x|)."""
    return functional.softsign(x)


def shrink(node: Node, x: Tensor) -> Tensor:
    """X + bias where x < −lambd, x − bias where x > lambd, 0 between."""
    threshold, bias = node.number("lambd", 0.5), node.number("bias", 0.0)
    y = torch.where(x < -threshold, x + bias, torch.where(x > threshold, x - bias, torch.zeros_like(x)))
    return y.to(x.dtype)


def softmax(node: Node, x: Tensor) -> Tensor:
    """Softmax along an axis; before opset 13 over all axes from it on, together."""
    return _over_axis(node, x, torch.softmax)


def log_softmax(node: Node, x: Tensor) -> Tensor:
    """Logarithm of the softmax."""
    return _over_axis(node, x, torch.log_softmax)


def hardmax(node: Node, x: Tensor) -> Tensor:
    """1 at the first largest value along an axis, 0 elsewhere."""

    def one_hot(values: Tensor, dim: int) -> Tensor:
        return torch.zeros_like(values).scatter(dim, values.argmax(dim, keepdim=True), 1.0)

    return _over_axis(node, x, one_hot)


def _over_axis(node: Node, x: Tensor, function: Callable[[Tensor, int], Tensor]) -> Tensor:
    if node.opset >= 13:
        return function(x, node.integer("axis", -1))
    axis = node.integer("axis", 1)
    start = axis % x.ndim if axis < x.ndim else axis
    return function(x.flatten(start) if start < x.ndim else x.unsqueeze(-1), start).reshape(x.shape)


OPERATORS = {
    "Relu": TorchOperator(relu),
    "LeakyRelu": TorchOperator(leaky_relu),
    "PRelu": TorchOperator(prelu),
    "ThresholdedRelu": TorchOperator(thresholded_relu),
    "Elu": TorchOperator(elu),
    "Celu": TorchOperator(celu),
    "Selu": TorchOperator(selu),
    "Gelu": TorchOperator(gelu),
    "Sigmoid": TorchOperator(sigmoid),
    "HardSigmoid": TorchOperator(hard_sigmoid),
    "HardSwish": TorchOperator(hard_swish),
    "Swish": TorchOperator(swish),
    "Mish": TorchOperator(mish),
    "Tanh": TorchOperator(tanh),
    "Softplus": TorchOperator(softplus),
    "Softsign": TorchOperator(softsign),
    "Shrink": TorchOperator(shrink),
    "Softmax": TorchOperator(softmax),
    "LogSoftmax": TorchOperator(log_softmax),
    "Hardmax": TorchOperator(hardmax),
}
