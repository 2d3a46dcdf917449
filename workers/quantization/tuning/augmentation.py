"""Making more of a batch: mirrored, shifted, two inputs mixed; the float network says what they are now."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_SHIFT = 1 / 16


def augment(x: Tensor, random: torch.Generator, *, pictures: bool, mixed: float) -> Tensor:
    """Return inputs like those given, of the same shape.

    Args:
        x: Inputs, [N, C, …].
        random: Source of random numbers, on the CPU.
        pictures: Whether they are pictures, which may be mirrored and shifted; others are only mixed.
        mixed: The share of the batch that becomes a mix of two: (1 − λ) x₁ + λ x₂ with λ even over [0, ½].
    """
    if pictures:
        mirrored = (torch.rand(len(x), 1, 1, 1, generator=random) < 0.5).to(x.device)
        x = _shifted(torch.where(mirrored, x.flip(3), x), random)
    count = int(len(x) * mixed)
    if count:
        share = torch.rand(count, *[1] * (x.ndim - 1), generator=random).mul_(0.5).to(x.device)
        other = torch.randperm(len(x), generator=random)[:count].to(x.device)
        x = torch.cat([(1 - share) * x[:count] + share * x[other], x[count:]])
    return x


def _shifted(x: Tensor, random: torch.Generator) -> Tensor:
    """Move all pictures of a batch by the same few pixels, the edge reflected."""
    height, width = x.shape[2:]
    most = [min(int(side * _SHIFT), side - 1) for side in (height, width)]
    down, right = (int(torch.randint(0, 2 * reach + 1, (), generator=random)) for reach in most)
    if not any(most):
        return x
    padded = functional.pad(x, (most[1], most[1], most[0], most[0]), mode="reflect")
    return padded[:, :, down : down + height, right : right + width]
