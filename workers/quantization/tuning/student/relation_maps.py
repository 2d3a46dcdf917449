"""Channel relation maps of ZAQ: cosine similarities between channels, independent of the range of values.

References:
    Liu, Zhang, Wang, "Zero-shot Adversarial Quantization", CVPR 2021, arXiv 2103.15263.
"""

from __future__ import annotations

import torch
from torch import Tensor

_SMALLEST_NORM = 1e-6


def relation_map(features: Tensor) -> Tensor:
    """Return the channel relation map (CRM) of each sample: the cosine similarity of every pair of channels.

    Similarities of a channel that is 0 everywhere are 0, also with itself, and so is their gradient.

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
    """Return the L1 distance of the relation maps of two feature maps, a mean over N, C, C: a term of ZAQ's D_f.

    Args:
        teacher: A feature map of P, [N, C, …].
        student: The same feature map of Q.
    """
    return (relation_map(teacher) - relation_map(student)).abs().mean()


class RelationMapWeights:
    """Weights a_l of the layers in ZAQ's D_f: the softmax over layers of their averaged map differences.

    The average is an exponential moving average of each epoch's mean difference. Before the end of the first epoch all
    weights are equal.

    Args:
        layers: Number of layers L.
        decay: Weight of earlier epochs in the moving average.
    """

    def __init__(self, layers: int, decay: float) -> None:
        self.decay = decay
        self.average = torch.zeros(layers)
        self.epochs = 0
        self._sums = torch.zeros(layers)
        self._count = 0

    @property
    def values(self) -> Tensor:
        """The weights a_l, [L], which sum to 1."""
        return self.average.softmax(0)

    def update(self, differences: Tensor) -> None:
        """Add the differences of one step, [L]."""
        self._sums += differences.detach().float().cpu()
        self._count += 1

    def end_epoch(self) -> None:
        """Update the moving average with the epoch's mean."""
        if not self._count:
            return
        mean = self._sums / self._count
        self.average = mean if not self.epochs else self.decay * self.average + (1 - self.decay) * mean
        self.epochs += 1
        self._sums, self._count = torch.zeros_like(self._sums), 0

    def state(self) -> dict[str, object]:
        """Return the state for a checkpoint."""
        return {"average": self.average, "epochs": self.epochs, "sums": self._sums, "count": self._count}

    def restore(self, state: dict[str, object]) -> None:
        """Restore what :meth:`state` returned."""
        average, epochs, sums, count = (state[key] for key in ("average", "epochs", "sums", "count"))
        assert isinstance(average, Tensor)
        assert isinstance(sums, Tensor)
        assert isinstance(epochs, int)
        assert isinstance(count, int)
        self.average, self.epochs, self._sums, self._count = average, epochs, sums.clone(), count
