"""One training step of CycleGAN and pix2pix, with one forward pass per loss term as in the papers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def cyclegan_generator_losses(
    a2b: nn.Module, b2a: nn.Module, discriminator_a: nn.Module, discriminator_b: nn.Module, a: Tensor, b: Tensor
) -> dict[str, Tensor]:
    """Return the generators' losses, each with its own forward passes."""
    fake_b, fake_a = a2b(a), b2a(b)
    return {
        "G_a2b": ((discriminator_b(fake_b) - 1) ** 2).mean(),
        "G_b2a": ((discriminator_a(fake_a) - 1) ** 2).mean(),
        "cycle_a": (b2a(fake_b) - a).abs().mean(),
        "cycle_b": (a2b(fake_a) - b).abs().mean(),
        "identity_a": (b2a(a) - a).abs().mean(),
        "identity_b": (a2b(b) - b).abs().mean(),
    }


def cyclegan_total(losses: dict[str, Tensor], cycle: float = 10.0, identity: float = 0.5) -> Tensor:
    """Return the total loss of CycleGAN's generators."""
    return (
        losses["G_a2b"]
        + losses["G_b2a"]
        + cycle * (losses["cycle_a"] + losses["cycle_b"])
        + identity * cycle * (losses["identity_a"] + losses["identity_b"])
    )


def cyclegan_discriminator_loss(discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """Return the loss of a CycleGAN discriminator."""
    real_scores: Tensor = discriminator(real)
    fake_scores: Tensor = discriminator(fake)
    return (((real_scores - 1) ** 2).mean() + (fake_scores**2).mean()) / 2


def pix2pix_discriminator_losses(
    discriminator: nn.Module, condition: Tensor, target: Tensor, fake: Tensor
) -> dict[str, Tensor]:
    """Return both terms of the discriminator loss of pix2pix."""
    return {
        "D_real": functional.softplus(-discriminator(torch.cat([condition, target], 1))).mean(),
        "D_fake": functional.softplus(discriminator(torch.cat([condition, fake], 1))).mean(),
    }


def pix2pix_generator_losses(
    discriminator: nn.Module, condition: Tensor, target: Tensor, fake: Tensor
) -> dict[str, Tensor]:
    """Return both terms of the generator loss of pix2pix."""
    return {
        "G_adversarial": functional.softplus(-discriminator(torch.cat([condition, fake], 1))).mean(),
        "l1": (fake - target).abs().mean(),
    }
