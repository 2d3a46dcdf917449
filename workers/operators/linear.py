"""Matrix products."""

import torch
from torch import Tensor

from workers.operators.node import Node, TorchOperator


def gemm(node: Node, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    """Alpha · A · B + beta · C, with A and B transposed by ``transA`` and ``transB``."""
    alpha, beta = node.number("alpha", 1.0), node.number("beta", 1.0)
    if node.integer("transA"):
        a = a.t()
    if node.integer("transB"):
        b = b.t()
    if c is not None and alpha == beta == 1.0 and a.is_floating_point():
        return torch.addmm(c, a, b)
    y = torch.matmul(a, b)
    y = y if alpha == 1.0 else scaled(y, alpha)
    if c is None:
        return y
    return y + (c if beta == 1.0 else scaled(c, beta))


def scaled(x: Tensor, factor: float) -> Tensor:
    """Multiply by a number without changing the type."""
    return x * factor if x.is_floating_point() else (x * factor).to(x.dtype)


def matmul(node: Node, a: Tensor, b: Tensor) -> Tensor:
    """Matrix product, as numpy's."""
    return torch.matmul(a, b)


def einsum(node: Node, *operands: Tensor) -> Tensor:
    """Sum of products by Einstein's notation."""
    return torch.einsum(node.text("equation").replace(" ", ""), *operands)


def determinant(node: Node, x: Tensor) -> Tensor:
    """Determinant of each matrix."""
    result: Tensor = torch.linalg.det(x)
    return result


OPERATORS = {
    "Gemm": TorchOperator(gemm),
    "MatMul": TorchOperator(matmul),
    "Einsum": TorchOperator(einsum),
    "Det": TorchOperator(determinant),
}
