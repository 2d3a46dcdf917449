"""One step of CycleGAN and of pix2pix, written out pass by pass as the papers have them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def cyclegan_losses(
    a2b: nn.Module, b2a: nn.Module, judge_a: nn.Module, judge_b: nn.Module, a: Tensor, b: Tensor
) -> dict[str, Tensor]:
    """Return the generators' losses, each by a pass of its own."""
    made_b, made_a = a2b(a), b2a(b)
    return {
        "G_a2b": ((judge_b(made_b) - 1) ** 2).mean(),
        "G_b2a": ((judge_a(made_a) - 1) ** 2).mean(),
        "cycle_a": (b2a(made_b) - a).abs().mean(),
        "cycle_b": (a2b(made_a) - b).abs().mean(),
        "identity_a": (b2a(a) - a).abs().mean(),
        "identity_b": (a2b(b) - b).abs().mean(),
    }


def cyclegan_total(losses: dict[str, Tensor], cycle: float = 10.0, identity: float = 0.5) -> Tensor:
    """Return what CycleGAN's generators minimize."""
    return (
        losses["G_a2b"]
        + losses["G_b2a"]
        + cycle * (losses["cycle_a"] + losses["cycle_b"])
        + identity * cycle * (losses["identity_a"] + losses["identity_b"])
    )


def cyclegan_judged(judge: nn.Module, real: Tensor, made: Tensor) -> Tensor:
    """Return a discriminator's loss in CycleGAN, by two passes."""
    real_scores: Tensor = judge(real)
    made_scores: Tensor = judge(made)
    return (((real_scores - 1) ** 2).mean() + (made_scores**2).mean()) / 2


def pix2pix_judged(judge: nn.Module, given: Tensor, wanted: Tensor, made: Tensor) -> dict[str, Tensor]:
    """Return both parts of the discriminator's loss in pix2pix, by two passes."""
    return {
        "D_real": functional.softplus(-judge(torch.cat([given, wanted], 1))).mean(),
        "D_fake": functional.softplus(judge(torch.cat([given, made], 1))).mean(),
    }


def pix2pix_losses(judge: nn.Module, given: Tensor, wanted: Tensor, made: Tensor) -> dict[str, Tensor]:
    """Return both parts of the generator's loss in pix2pix."""
    return {
        "G_adversarial": functional.softplus(-judge(torch.cat([given, made], 1))).mean(),
        "l1": (made - wanted).abs().mean(),
    }
