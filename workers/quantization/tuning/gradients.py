"""Gradients kept to a size that the weights can bear, whatever the scales of a network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

_TINY = 1e-12


@torch.no_grad()
def limit_gradient(parameters: Sequence[nn.Parameter], share: float) -> Tensor:
    """Scale the gradient g of weights w down, if need be, until ‖g‖ ≤ share · ‖w‖; both norms are over all of them.

    A step of rate η then moves the weights by at most η · share of their norm, momentum left aside. A network of few
    bits needs that: its first gradients are ten times as large as its later ones.

    Args:
        parameters: The weights; those without a gradient are left out of its norm.
        share: The largest norm of the gradient, as a share of that of the weights.

    Returns:
        The norm of the gradient as it was.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return torch.zeros(())
    norm, weights = _norm(gradients), _norm(parameters)
    factor = (share * weights / norm.clamp_min(_TINY)).clamp_max(1.0)
    for gradient in gradients:
        gradient.mul_(factor)
    return norm


def _norm(tensors: Sequence[Tensor]) -> Tensor:
    return torch.stack([tensor.square().sum() for tensor in tensors]).sum().sqrt()
