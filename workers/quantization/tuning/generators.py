"""Generators: networks that make inputs of noise, in any shape a network takes."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from workers.quantization.tuning.inputs import InputSpace

_FEWEST_DOUBLINGS = 2
_FIRST_SIZE = 8
_NARROWEST = 16
_SLOPE = 0.2

_CONVOLUTIONS: dict[int, type[nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_NORMS: dict[int, type[nn.Module]] = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


class Generator(nn.Module):
    """Noise z, a linear layer, convolutions with a doubling of the size before each, and values an input can have.

    The last convolution's channels are normalized. A sigmoid makes pixels of them, from black to white; what is
    unbounded keeps mean 0 and deviation 1, as has the noise N(0, 1) that such inputs are otherwise probed with.
    BatchNorm always takes the statistics of its batch, and has no others.

    Args:
        space: Where inputs lie. Any shape: [C, H, W], [C, L], [C, D, H, W]; features without places, [C], are taken for
            a single place.
        latent: Size of z.
        width: Channels of the first convolutions; later ones, where maps are large, have fewer.
        classes: Number of classes where a label is given with z; its embedding multiplies z.
    """

    def __init__(self, space: InputSpace, *, latent: int, width: int = 128, classes: int | None = None) -> None:
        super().__init__()
        self.space = space
        self.latent = latent
        channels, *places = space.shape
        if not 1 <= len(places) <= 3:
            places = [math.prod(places)]
        sizes = _sizes(places)
        widths = _widths(width, len(sizes) - 1)
        convolution, norm = _CONVOLUTIONS[len(places)], _NORMS[len(places)]
        self._sizes = sizes
        self.embedding = None if classes is None else nn.Embedding(classes, latent)
        self.linear = nn.Linear(latent, width * math.prod(sizes[0]))
        self.norms = nn.ModuleList([_normalization(norm, width)])
        self.convolutions = nn.ModuleList()
        before = width
        for count in widths:
            self.convolutions.append(convolution(before, count, 3, padding=1, bias=False))
            self.norms.append(_normalization(norm, count))
            before = count
        self.last = convolution(before, channels, 3, padding=1)
        self.last_norm = _normalization(norm, channels, affine=space.images)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return inputs, float32 [N, …] as the network takes them.

        Args:
            z: Noise, [N, latent].
            labels: Classes, int64 [N], where the generator is conditional.
        """
        if (labels is None) != (self.embedding is None):
            raise ValueError("a conditional generator takes labels, and no other does")
        if self.embedding is not None:
            z = z * self.embedding(labels)
        x = self.linear(z).unflatten(1, (-1, *self._sizes[0]))
        x = self.norms[0](x)
        for size, layer, norm in zip(self._sizes[1:], self.convolutions, self.norms[1:], strict=True):
            x = functional.interpolate(x, size=list(size), mode="nearest")
            x = functional.leaky_relu(norm(layer(x)), _SLOPE)
        x = self.last_norm(self.last(x).float())
        x = x.reshape(len(x), *self.space.shape)
        return self.space.from_unit(torch.sigmoid(x) if self.space.images else x)


def seeded_generator(
    seed: int, space: InputSpace, *, latent: int, width: int = 128, classes: int | None = None
) -> Generator:
    """Return a generator with weights drawn from a seed; torch's own source of random numbers stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Generator(space, latent=latent, width=width, classes=classes)


def _normalization(norm: type[nn.Module], channels: int, *, affine: bool = True) -> nn.Module:
    return norm(channels, affine=affine, track_running_stats=False)


def _sizes(places: list[int]) -> list[list[int]]:
    """Return the sizes of maps from the first to the last, each at most twice the one before."""
    doublings = max(_FEWEST_DOUBLINGS, math.ceil(math.log2(max(places) / _FIRST_SIZE)))
    return [[math.ceil(size / 2**left) for size in places] for left in range(doublings, -1, -1)]


def _widths(width: int, layers: int) -> list[int]:
    """Return each convolution's channels: the full width first, half as many at each next one, but not below 16."""
    return [max(min(_NARROWEST, width), width >> index) for index in range(layers)]
