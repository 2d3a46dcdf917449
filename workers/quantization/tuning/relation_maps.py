"""Channel relation maps: how alike the channels of a feature map are, whatever its range of values.

References:
    Liu, Zhang, Wang, "Zero-shot Adversarial Quantization", CVPR 2021, arXiv 2103.15263.
"""

from __future__ import annotations

import torch
from torch import Tensor

_SMALLEST_NORM = 1e-6


def relation_map(features: Tensor) -> Tensor:
    """Return the cosine similarity of every pair of channels, of each sample on its own.

    A channel that is 0 everywhere is like no other, nor like itself: its similarities are 0, and no gradient comes of
    them.

    Args:
        features: A feature map, [N, C, …].

    Returns:
        The maps, float32 [N, C, C].
    """
    # Products of float32 values, which autocast would round to bfloat16.
    with torch.autocast(features.device.type, enabled=False):
        channels = features.flatten(2).float()
        products = channels @ channels.transpose(1, 2)
    squares = products.diagonal(dim1=1, dim2=2)
    alive = squares > _SMALLEST_NORM**2
    inverse = torch.where(alive, torch.where(alive, squares, 1.0).rsqrt(), 0.0)
    return products * inverse.unsqueeze(1) * inverse.unsqueeze(2)


def map_difference(teacher: Tensor, student: Tensor) -> Tensor:
    """Return the L1 distance of the relation maps of two feature maps, per pair of channels: a mean over N, C, C.

    Args:
        teacher: A feature map of P, [N, C, …].
        student: The same of Q.
    """
    return (relation_map(teacher) - relation_map(student)).abs().mean()


class LayerWeights:
    """Weights a of layers: the softmax over layers of their differences, averaged over epochs.

    The average is an exponential moving one over epochs, each epoch counting with the mean of its differences. As long
    as no epoch has ended, all layers weigh the same.

    Args:
        layers: How many layers there are.
        decay: Weight of what went before in the moving average.
    """

    def __init__(self, layers: int, decay: float) -> None:
        self.decay = decay
        self.average = torch.zeros(layers)
        self.epochs = 0
        self._sums = torch.zeros(layers)
        self._count = 0

    @property
    def values(self) -> Tensor:
        """The weights, [L]; they add up to 1."""
        return self.average.softmax(0)

    def note(self, differences: Tensor) -> None:
        """Take in the differences of one step, [L]."""
        self._sums += differences.detach().float().cpu()
        self._count += 1

    def end_epoch(self) -> None:
        """Take the epoch's mean into the moving average."""
        if not self._count:
            return
        mean = self._sums / self._count
        self.average = mean if not self.epochs else self.decay * self.average + (1 - self.decay) * mean
        self.epochs += 1
        self._sums, self._count = torch.zeros_like(self._sums), 0

    def state(self) -> dict[str, object]:
        """Return what a checkpoint keeps."""
        return {"average": self.average, "epochs": self.epochs, "sums": self._sums, "count": self._count}

    def restore(self, state: dict[str, object]) -> None:
        """Go on from what :meth:`state` returned."""
        average, epochs, sums, count = (state[key] for key in ("average", "epochs", "sums", "count"))
        assert isinstance(average, Tensor)
        assert isinstance(sums, Tensor)
        assert isinstance(epochs, int)
        assert isinstance(count, int)
        self.average, self.epochs, self._sums, self._count = average, epochs, sums.clone(), count
