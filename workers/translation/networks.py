"""The networks of CycleGAN and pix2pix: ResNet and U-Net generators, PatchGAN discriminator.

Convolutions before a norm keep their biases, as in the published networks with instance norm. Instance norm has no
parameters and no running statistics, and is computed in float32 at any precision of the convolutions.

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

_IMAGE_CHANNELS = 3
_DROPOUT = 0.5
_MAX_WIDTH_FACTOR = 8
_FIRST_DROPOUT_LEVEL = 4
_WEIGHT_STD = 0.02
_DOWNSAMPLINGS = 2


def instance_norm(x: Tensor) -> Tensor:
    """Return (x − μ) / √(σ² + ε) with the mean and variance of each channel of each sample, in the dtype of ``x``.

    Computed in float32.

    Args:
        x: [N, C, H, W] of any floating dtype.

    Raises:
        ValueError: If H and W are 1, so that there is no variance.
    """
    return functional.instance_norm(x.float(), eps=EPSILON).to(x.dtype)


class ResidualBlock(nn.Module):
    """x + norm(conv(relu(norm(conv(x))))) with 3 × 3 kernels and reflection padding."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3)
        self.second = nn.Conv2d(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return features, [N, channels, H, W]."""
        inner = functional.relu(instance_norm(self.first(_reflected(x, 1))))
        return x + instance_norm(self.second(_reflected(inner, 1)))


class ResnetGenerator(nn.Module):
    """CycleGAN's generator: c7s1-64, d128, d256, R256 × blocks, u128, u64, c7s1-3, tanh.

    Args:
        channels: Channels of the first layer; doubled by each of the two downsamplings.
        blocks: Residual blocks: nine at 256² and six at 128² in the paper.

    Attributes:
        multiple: Height and width must be multiples of this, and at least twice as large.
    """

    multiple: Final = 2**_DOWNSAMPLINGS

    def __init__(self, channels: int = 64, blocks: int = 9) -> None:
        super().__init__()
        widths = [channels << level for level in range(_DOWNSAMPLINGS + 1)]
        steps = list(pairwise(widths))
        self.head = nn.Conv2d(_IMAGE_CHANNELS, channels, 7)
        self.down = nn.ModuleList(nn.Conv2d(few, many, 3, stride=2, padding=1) for few, many in steps)
        self.blocks = nn.ModuleList(ResidualBlock(widths[-1]) for _ in range(blocks))
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(many, few, 3, stride=2, padding=1, output_padding=1) for few, many in reversed(steps)
        )
        self.tail = nn.Conv2d(channels, _IMAGE_CHANNELS, 7)

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
    """pix2pix's generator, a U-Net: ``depth`` downsamplings, as many upsamplings, and skip connections.

    The encoder's widths are 64, 128, 256, and 512 from then on. The decoder's blocks of full width, except the
    innermost, have dropout of ½: three at a depth of 8, one fewer for each level fewer. Dropout is off in evaluation
    mode, which is what is served.

    The paper uses batch norm with batch statistics at test time too, and a batch size of one, which is instance norm.
    Here it is instance norm at any batch size: there are no running statistics, and the translation of an image does
    not depend on the rest of its batch. The bottleneck has no norm, as published.

    Args:
        channels: Channels of the first layer.
        depth: Downsamplings, at least 2. It is 8 at 256², where the bottleneck is 1 × 1.

    Attributes:
        multiple: Height and width must be multiples of this.
        encoder: Convolutions, outermost first.
        decoder: Transposed convolutions, innermost first.

    Raises:
        ValueError: If the depth is less than 2.
    """

    def __init__(self, channels: int = 64, depth: int = 8) -> None:
        if depth < 2:
            raise ValueError(f"a U-Net of depth {depth} has no skip connections; the depth must be at least 2")
        super().__init__()
        self.multiple = 2**depth
        widths = [channels * min(2**level, _MAX_WIDTH_FACTOR) for level in range(depth)]
        outer = [_IMAGE_CHANNELS, *widths[:-1]]
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
            if _FIRST_DROPOUT_LEVEL <= level < depth - 1:
                x = functional.dropout(x, _DROPOUT, self.training)
            x = torch.cat([levels.pop(), x], 1)
        return torch.tanh(self.decoder[-1](functional.relu(x)).float())


class PatchDiscriminator(nn.Module):
    """PatchGAN: C64-C128-C256-C512 and a score per patch, of 70 × 70 pixels for three downsamplings.

    Leaky ReLU of slope 0.2; instance norm in all but the first and the last layer.

    Args:
        inputs: Input channels: 3 for an image, 6 for a source image and its translation.
        channels: Channels of the first layer.
        layers: Downsamplings.
    """

    def __init__(self, inputs: int = 3, channels: int = 64, layers: int = 3) -> None:
        super().__init__()
        widths = [inputs, *(channels * min(2**level, _MAX_WIDTH_FACTOR) for level in range(layers + 1))]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(few, many, 4, stride=2 if level < layers else 1, padding=1)
            for level, (few, many) in enumerate(pairwise(widths))
        )
        self.convolutions.append(nn.Conv2d(widths[-1], 1, 4, padding=1))

    def forward(self, image: Tensor) -> Tensor:
        """Return a score per patch, larger for real images, float32 [N, 1, h, w], unbounded.

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
    """Draw all weights from N(0, 0.02²) and set biases to 0, as in both papers.

    Args:
        module: A network on the CPU, changed in place.
        generator: Random number generator on the CPU; equal states give equal weights.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.weight.normal_(0.0, _WEIGHT_STD, generator=generator)
            assert layer.bias is not None
            layer.bias.zero_()


def _reflected(x: Tensor, border: int) -> Tensor:
    return functional.pad(x, (border, border, border, border), mode="reflect")
