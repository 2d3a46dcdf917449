"""The losses of CycleGAN and pix2pix. Each is computed in float32 and averaged over everything.

References:
    Mao et al., "Least Squares Generative Adversarial Networks", ICCV 2017, arXiv 1611.04076.
    Zhu et al., ICCV 2017, arXiv 1703.10593, equations 1 to 3 and section 5.2 (identity).
    Isola et al., CVPR 2017, arXiv 1611.07004, equations 1 to 4.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def least_squares(scores: Tensor, *, real: bool) -> Tensor:
    """Return the mean of (s − 1)² where scores shall say real, of s² where they shall say made; float32 [].

    A generator's loss is that of its translations with ``real=True``.

    Args:
        scores: What a discriminator says, of any shape.
        real: What it shall say.
    """
    return (scores.float() - float(real)).square().mean()


def cross_entropy(scores: Tensor, *, real: bool) -> Tensor:
    """Return the mean of −log σ(s) where scores shall say real, of −log(1 − σ(s)) where made; float32 [].

    Args:
        scores: What a discriminator says, logits of any shape.
        real: What it shall say.
    """
    wide = scores.float()
    return functional.binary_cross_entropy_with_logits(wide, torch.full_like(wide, float(real)))


def halved(real: Tensor, made: Tensor) -> Tensor:
    """Return a discriminator's loss, half the sum of that on real images and that on made ones.

    It learns at half the pace of the generator that way.
    """
    return 0.5 * (real + made)


def l1(made: Tensor, wanted: Tensor) -> Tensor:
    """Return the mean of |x − y|, float32 []: of cycles, of identities, and of pix2pix's pairs.

    Args:
        made: Images of any shape.
        wanted: Others of that shape.
    """
    return (made.float() - wanted.float()).abs().mean()
