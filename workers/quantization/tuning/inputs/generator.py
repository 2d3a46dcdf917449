"""The generator G of GDFQ and ZAQ: maps noise (and a class) to inputs of any shape."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from workers.quantization.tuning.inputs.space import InputSpace

_MIN_DOUBLINGS = 2
_FIRST_SIZE = 8
_MIN_WIDTH = 16
_NEGATIVE_SLOPE = 0.2

_CONVOLUTIONS: dict[int, type[nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_NORMS: dict[int, type[nn.Module]] = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


class InputGenerator(nn.Module):
    """A linear layer, then nearest-neighbour upsampling and convolution up to the size of the input.

    The output channels are normalized. Images then pass a sigmoid onto the pixel range; other inputs keep mean 0 and
    deviation 1. BatchNorm uses batch statistics, in evaluation too.

    Args:
        space: Input space with samples [C, H, W], [C, L] or [C, D, H, W]; [C] is generated as one channel of length C.
        latent: Size of z.
        width: Channels of the first convolutions; halved at each later one, down to 16.
        classes: Number of classes of a conditional generator (GDFQ), whose label embedding multiplies z.
    """

    def __init__(self, space: InputSpace, *, latent: int, width: int = 128, classes: int | None = None) -> None:
        super().__init__()
        self.space = space
        self.latent = latent
        channels, *spatial_shape = space.shape
        if not 1 <= len(spatial_shape) <= 3:
            spatial_shape = [math.prod(spatial_shape)]
        sizes = _sizes(spatial_shape)
        widths = _widths(width, len(sizes) - 1)
        convolution, norm = _CONVOLUTIONS[len(spatial_shape)], _NORMS[len(spatial_shape)]
        self._sizes = sizes
        self.embedding = None if classes is None else nn.Embedding(classes, latent)
        self.linear = nn.Linear(latent, width * math.prod(sizes[0]))
        self.norms = nn.ModuleList([_normalization(norm, width)])
        self.convolutions = nn.ModuleList()
        before = width
        for channels_out in widths:
            self.convolutions.append(convolution(before, channels_out, 3, padding=1, bias=False))
            self.norms.append(_normalization(norm, channels_out))
            before = channels_out
        self.last = convolution(before, channels, 3, padding=1)
        self.last_norm = _normalization(norm, channels, affine=space.images)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return inputs, float32 [N, …].

        Args:
            z: Noise, [N, latent].
            labels: Classes, int64 [N], for a conditional generator.
        """
        if (labels is None) != (self.embedding is None):
            raise ValueError("labels must be given if and only if the generator is conditional")
        if self.embedding is not None:
            z = z * self.embedding(labels)
        x = self.linear(z).unflatten(1, (-1, *self._sizes[0]))
        x = self.norms[0](x)
        for size, layer, norm in zip(self._sizes[1:], self.convolutions, self.norms[1:], strict=True):
            x = functional.interpolate(x, size=list(size), mode="nearest")
            x = functional.leaky_relu(norm(layer(x)), _NEGATIVE_SLOPE)
        x = self.last_norm(self.last(x).float())
        x = x.reshape(len(x), *self.space.shape)
        return self.space.from_unit(torch.sigmoid(x) if self.space.images else x)


def seeded_generator(
    seed: int, space: InputSpace, *, latent: int, width: int = 128, classes: int | None = None
) -> InputGenerator:
    """Return a generator with weights drawn from a seed; torch's global random state does not change."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return InputGenerator(space, latent=latent, width=width, classes=classes)


def _normalization(norm: type[nn.Module], channels: int, *, affine: bool = True) -> nn.Module:
    return norm(channels, affine=affine, track_running_stats=False)


def _sizes(spatial_shape: list[int]) -> list[list[int]]:
    """Return the sizes of the feature maps, each at most twice the one before; the last is ``spatial_shape``."""
    doublings = max(_MIN_DOUBLINGS, math.ceil(math.log2(max(spatial_shape) / _FIRST_SIZE)))
    return [[math.ceil(size / 2**left) for size in spatial_shape] for left in range(doublings, -1, -1)]


def _widths(width: int, layers: int) -> list[int]:
    """Return each convolution's channels: ``width``, halved at each next one, at least 16."""
    return [max(min(_MIN_WIDTH, width), width >> index) for index in range(layers)]
