"""Gradient clipping relative to the norm of the weights, whatever the scales of a network.

References:
    Brock et al., "High-Performance Large-Scale Image Recognition Without Normalization", ICML 2021,
    arXiv 2102.06171, section 4 (adaptive gradient clipping, there unit-wise).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

_TINY = 1e-12


@torch.no_grad()
def clip_gradient(parameters: Sequence[nn.Parameter], max_ratio: float) -> Tensor:
    """Scale the gradient g of the weights w to ‖g‖ ≤ max_ratio · ‖w‖, in place; norms are over all parameters together.

    A step with learning rate η, momentum aside, then moves the weights by at most η · max_ratio of their norm. Networks
    of few bits need that: the gradients of their first steps are ten times as large as later ones.

    Args:
        parameters: The weights; those without a gradient count in ‖w‖ only.

    Returns:
        ‖g‖ before clipping, [].
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return torch.zeros(())
    norm, weights = _norm(gradients), _norm(parameters)
    factor = (max_ratio * weights / norm.clamp_min(_TINY)).clamp_max(1.0)
    for gradient in gradients:
        gradient.mul_(factor)
    return norm


def _norm(tensors: Sequence[Tensor]) -> Tensor:
    return torch.stack([tensor.square().sum() for tensor in tensors]).sum().sqrt()
