"""The networks of CycleGAN and pix2pix: two generators and the discriminator that judges patches.

Convolutions before a norm keep their biases, as in the published networks with instance norm. Instance norm has no
parameters of its own, keeps no running statistics and is computed in float32, whatever the convolutions run in.

References:
    Zhu et al., "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks", ICCV 2017, arXiv
    1703.10593, appendix 7.2.
    Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017, arXiv 1611.07004,
    appendix 6.1.
    Ulyanov et al., "Instance Normalization", 2016, arXiv 1607.08022.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

EPSILON: Final = 1e-5
"""ε of instance norm, added to the variance."""

SLOPE: Final = 0.2
"""Slope of the leaky ReLU below zero."""

_COLORS = 3
_DROPPED = 0.5
_WIDEST = 8
_FIRST_WITHOUT_DROPOUT = 4
_DEVIATION = 0.02
_DOUBLINGS = 2


def instance_norm(x: Tensor) -> Tensor:
    """Return (x − μ) / √(σ² + ε) with the mean and variance of each channel of each sample, in the dtype of ``x``.

    Computed in float32.

    Args:
        x: [N, C, H, W] of any floating dtype.

    Raises:
        ValueError: If H and W are 1: a single value has no variance.
    """
    return functional.instance_norm(x.float(), eps=EPSILON).to(x.dtype)


class ResidualBlock(nn.Module):
    """x + norm(conv(relu(norm(conv(x))))), 3 × 3 each, padded by reflection.

    Args:
        channels: Channels in and out.

    Attributes:
        first: The first convolution.
        second: The second one.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3)
        self.second = nn.Conv2d(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return features of the shape given, [N, channels, H, W]."""
        inner = functional.relu(instance_norm(self.first(_reflected(x, 1))))
        return x + instance_norm(self.second(_reflected(inner, 1)))


class ResnetGenerator(nn.Module):
    """CycleGAN's generator: c7s1-64, d128, d256, R256 × blocks, u128, u64, c7s1-3, tanh.

    Args:
        channels: Channels of the first layer; two halvings of the size double them twice.
        blocks: Residual blocks: the paper has nine at 256² and six at 128².

    Attributes:
        multiple: Height and width must be multiples of this, and at least twice as large.
        head: The first convolution.
        down: The two that halve the size.
        blocks: The residual blocks.
        up: The two transposed convolutions that double it again.
        tail: The last convolution.
    """

    multiple: Final = 2**_DOUBLINGS

    def __init__(self, channels: int = 64, blocks: int = 9) -> None:
        super().__init__()
        widths = [channels << level for level in range(_DOUBLINGS + 1)]
        steps = list(pairwise(widths))
        self.head = nn.Conv2d(_COLORS, channels, 7)
        self.down = nn.ModuleList(nn.Conv2d(few, many, 3, stride=2, padding=1) for few, many in steps)
        self.blocks = nn.ModuleList(ResidualBlock(widths[-1]) for _ in range(blocks))
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(many, few, 3, stride=2, padding=1, output_padding=1) for few, many in reversed(steps)
        )
        self.tail = nn.Conv2d(channels, _COLORS, 7)

    def forward(self, image: Tensor) -> Tensor:
        """Return the translation, float32 [N, 3, H, W] in [−1, 1].

        Args:
            image: [N, 3, H, W] in [−1, 1]; H and W multiples of 4, at least 8.
        """
        x = functional.relu(instance_norm(self.head(_reflected(image, 3))))
        for layer in self.down:
            x = functional.relu(instance_norm(layer(x)))
        for block in self.blocks:
            x = block(x)
        for layer in self.up:
            x = functional.relu(instance_norm(layer(x)))
        return torch.tanh(self.tail(_reflected(x, 3)).float())


class UnetGenerator(nn.Module):
    """pix2pix's generator: ``depth`` halvings of the size, as many doublings, and what was before each joined again.

    The encoder's widths are 64, 128, 256 and then 512 throughout. Dropout of ½ is in the decoder's blocks of full width
    but the innermost: three at a depth of 8, one less with each level less. It is noise in training and off in
    evaluation mode, which is what is served.

    The paper has batch norm, with the statistics of the batch at test time too; it trains with a batch of one, where
    that is instance norm. Instance norm it is here at any batch size, so that no running statistics are kept and a
    image's translation does not depend on what else is in its batch. The innermost map has no norm, as published.

    Args:
        channels: Channels of the first layer.
        depth: Halvings of the size, at least 2. At 256² it is 8, which leaves a single place innermost.

    Attributes:
        multiple: Height and width must be multiples of this.
        encoder: Convolutions, from the outermost to the innermost.
        decoder: Transposed convolutions, from the innermost to the outermost.

    Raises:
        ValueError: If the depth is less than 2.
    """

    def __init__(self, channels: int = 64, depth: int = 8) -> None:
        if depth < 2:
            raise ValueError(f"a U-Net of depth {depth} has nothing to join; it takes at least 2")
        super().__init__()
        self.multiple = 2**depth
        widths = [channels * min(2**level, _WIDEST) for level in range(depth)]
        outer = [_COLORS, *widths[:-1]]
        self.encoder = nn.ModuleList(
            nn.Conv2d(few, many, 4, stride=2, padding=1) for few, many in zip(outer, widths, strict=True)
        )
        self.decoder = nn.ModuleList(
            nn.ConvTranspose2d(widths[level] * (1 if level == depth - 1 else 2), outer[level], 4, stride=2, padding=1)
            for level in reversed(range(depth))
        )

    def forward(self, image: Tensor) -> Tensor:
        """Return the translation, float32 [N, 3, H, W] in [−1, 1].

        Args:
            image: [N, 3, H, W] in [−1, 1]; H and W multiples of :attr:`multiple`.
        """
        depth = len(self.encoder)
        levels = [self.encoder[0](image)]
        for level in range(1, depth):
            x = self.encoder[level](functional.leaky_relu(levels[-1], SLOPE))
            levels.append(x if level == depth - 1 else instance_norm(x))
        x = levels.pop()
        for level, layer in zip(reversed(range(1, depth)), self.decoder, strict=False):
            x = instance_norm(layer(functional.relu(x)))
            if _FIRST_WITHOUT_DROPOUT <= level < depth - 1:
                x = functional.dropout(x, _DROPPED, self.training)
            x = torch.cat([levels.pop(), x], 1)
        return torch.tanh(self.decoder[-1](functional.relu(x)).float())


class PatchDiscriminator(nn.Module):
    """PatchGAN: C64-C128-C256-C512 and a score for each patch, of 70 × 70 pixels with three halvings of the size.

    Leaky ReLU of slope 0.2; instance norm in all but the first and the last layer.

    Args:
        inputs: Channels of what is judged: 3 for an image, 6 for an image together with the one it was made of.
        channels: Channels of the first layer.
        layers: Halvings of the size.

    Attributes:
        convolutions: All of them, in order.
    """

    def __init__(self, inputs: int = 3, channels: int = 64, layers: int = 3) -> None:
        super().__init__()
        widths = [inputs, *(channels * min(2**level, _WIDEST) for level in range(layers + 1))]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(few, many, 4, stride=2 if level < layers else 1, padding=1)
            for level, (few, many) in enumerate(pairwise(widths))
        )
        self.convolutions.append(nn.Conv2d(widths[-1], 1, 4, padding=1))

    def forward(self, image: Tensor) -> Tensor:
        """Return how real each patch looks, float32 [N, 1, h, w], unbounded.

        Args:
            image: [N, inputs, H, W] in [−1, 1].
        """
        first, *inner, last = self.convolutions
        x = functional.leaky_relu(first(image), SLOPE)
        for layer in inner:
            x = functional.leaky_relu(instance_norm(layer(x)), SLOPE)
        score: Tensor = last(x).float()
        return score


@torch.no_grad()
def initialize(module: nn.Module, generator: torch.Generator) -> None:
    """Draw all weights from N(0, 0.02) and set biases to 0, as both papers do.

    Args:
        module: A network on the CPU, changed in place.
        generator: Source of random numbers, on the CPU; equal states give equal weights.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.weight.normal_(0.0, _DEVIATION, generator=generator)
            assert layer.bias is not None
            layer.bias.zero_()


def _reflected(x: Tensor, border: int) -> Tensor:
    return functional.pad(x, (border, border, border, border), mode="reflect")
