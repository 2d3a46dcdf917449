"""Augmentation of a batch: mirroring, shifting, mixup, CutMix. Labels come from the float network.

References:
    Zhang et al., "mixup", ICLR 2018, arXiv 1710.09412 (two inputs mixup).
    Yun et al., "CutMix", ICCV 2019, arXiv 1905.04899 (a box of one input pasted into another).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_MAX_SHIFT = 1 / 16


def augment(x: Tensor, random: torch.Generator, *, images: bool, mixup: float, cutmix: float = 0.0) -> Tensor:
    """Return augmented inputs of the same shape.

    Args:
        x: Inputs, [N, C, …].
        random: A CPU generator.
        images: Whether they are images, which are also mirrored and shifted.
        mixup: Fraction of the batch that is mixed: (1 − λ) x₁ + λ x₂, λ uniform over [0, ½].
        cutmix: Fraction of the batch that gets a box of another input at the same place; each side of the box is a
            quarter to three quarters of the input's.
    """
    if images:
        mirrored = (torch.rand(len(x), 1, 1, 1, generator=random) < 0.5).to(x.device)
        x = _shifted(torch.where(mirrored, x.flip(3), x), random)
    count = int(len(x) * mixup)
    if count:
        weight = torch.rand(count, *[1] * (x.ndim - 1), generator=random).mul_(0.5).to(x.device)
        other = torch.randperm(len(x), generator=random)[:count].to(x.device)
        x = torch.cat([(1 - weight) * x[:count] + weight * x[other], x[count:]])
    count = int(len(x) * cutmix)
    if count and x.ndim > 2:
        inside = _random_boxes(count, x.shape[2:], random).to(x.device)
        other = torch.randperm(len(x), generator=random)[:count].to(x.device)
        x = torch.cat([x[:-count], torch.where(inside, x[other], x[-count:])])
    return x


def _random_boxes(count: int, sides: torch.Size, random: torch.Generator) -> Tensor:
    """Return masks of random boxes, bool [count, 1, *sides]; a side takes a quarter to three quarters of the whole."""
    inside = torch.ones(count, 1, *[1] * len(sides), dtype=torch.bool)
    for axis, side in enumerate(sides):
        length = (0.25 + 0.5 * torch.rand(count, 1, generator=random)) * side
        start = torch.rand(count, 1, generator=random) * (side - length)
        centres = torch.arange(side) + 0.5
        within = (centres >= start) & (centres < start + length)
        shape = [count, 1, *[1] * len(sides)]
        shape[2 + axis] = side
        inside = inside & within.view(shape)
    return inside


def _shifted(x: Tensor, random: torch.Generator) -> Tensor:
    """Shift all images of a batch by the same few pixels, with reflected borders."""
    height, width = x.shape[2:]
    limits = [min(int(side * _MAX_SHIFT), side - 1) for side in (height, width)]
    down, right = (int(torch.randint(0, 2 * limit + 1, (), generator=random)) for limit in limits)
    if not any(limits):
        return x
    padded = functional.pad(x, (limits[1], limits[1], limits[0], limits[0]), mode="reflect")
    return padded[:, :, down : down + height, right : right + width]
