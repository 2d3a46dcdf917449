"""The losses of CycleGAN and pix2pix, computed in float32 and averaged over all elements.

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
    """Return the least-squares GAN loss: the mean of (s − 1)² for real targets, of s² for fake ones; float32 [].

    A generator's loss is that of its translations with ``real=True``.

    Args:
        scores: Outputs of a discriminator, any shape.
        real: The target label.
    """
    return (scores.float() - float(real)).square().mean()


def cross_entropy(scores: Tensor, *, real: bool) -> Tensor:
    """Return the binary cross-entropy: the mean of −log σ(s) for real targets, of −log(1 − σ(s)) for fake ones.

    Args:
        scores: Logits of a discriminator, any shape.
        real: The target label.

    Returns:
        float32 [].
    """
    logits = scores.float()
    return functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Return half the sum of the losses on real and on generated images.

    The factor halves the speed at which the discriminator learns relative to the generator.
    """
    return 0.5 * (real + fake)


def l1(output: Tensor, target: Tensor) -> Tensor:
    """Return the mean of |x − y|, float32 []: the cycle loss, the identity loss, and pix2pix's L1 loss."""
    return (output.float() - target.float()).abs().mean()
