"""Making more of a batch: mirrored, shifted, two inputs in one; the float network says what they are now.

References:
    Zhang et al., "mixup", ICLR 2018, arXiv 1710.09412 (two inputs mixed).
    Yun et al., "CutMix", ICCV 2019, arXiv 1905.04899 (a part of one put into another).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_SHIFT = 1 / 16


def augment(x: Tensor, random: torch.Generator, *, images: bool, mixed: float, pasted: float = 0.0) -> Tensor:
    """Return inputs like those given, of the same shape.

    Args:
        x: Inputs, [N, C, …].
        random: Source of random numbers, on the CPU.
        images: Whether they are images, which may be mirrored and shifted; others are only mixed.
        mixed: The share of the batch that becomes a mix of two: (1 − λ) x₁ + λ x₂ with λ even over [0, ½].
        pasted: The share that gets a part of another, at the same place: of each side from a quarter to three.
    """
    if images:
        mirrored = (torch.rand(len(x), 1, 1, 1, generator=random) < 0.5).to(x.device)
        x = _shifted(torch.where(mirrored, x.flip(3), x), random)
    count = int(len(x) * mixed)
    if count:
        share = torch.rand(count, *[1] * (x.ndim - 1), generator=random).mul_(0.5).to(x.device)
        other = torch.randperm(len(x), generator=random)[:count].to(x.device)
        x = torch.cat([(1 - share) * x[:count] + share * x[other], x[count:]])
    count = int(len(x) * pasted)
    if count and x.ndim > 2:
        inside = _parts(count, x.shape[2:], random).to(x.device)
        other = torch.randperm(len(x), generator=random)[:count].to(x.device)
        x = torch.cat([x[:-count], torch.where(inside, x[other], x[-count:])])
    return x


def _parts(count: int, sides: torch.Size, random: torch.Generator) -> Tensor:
    """Return where random boxes lie, [count, 1, *sides], each from a quarter to three quarters of every side."""
    inside = torch.ones(count, 1, *[1] * len(sides), dtype=torch.bool)
    for axis, side in enumerate(sides):
        length = (0.25 + 0.5 * torch.rand(count, 1, generator=random)) * side
        start = torch.rand(count, 1, generator=random) * (side - length)
        places = torch.arange(side) + 0.5
        within = (places >= start) & (places < start + length)
        shape = [count, 1, *[1] * len(sides)]
        shape[2 + axis] = side
        inside = inside & within.view(shape)
    return inside


def _shifted(x: Tensor, random: torch.Generator) -> Tensor:
    """Move all images of a batch by the same few pixels, the edge reflected."""
    height, width = x.shape[2:]
    most = [min(int(side * _SHIFT), side - 1) for side in (height, width)]
    down, right = (int(torch.randint(0, 2 * reach + 1, (), generator=random)) for reach in most)
    if not any(most):
        return x
    padded = functional.pad(x, (most[1], most[1], most[0], most[0]), mode="reflect")
    return padded[:, :, down : down + height, right : right + width]
