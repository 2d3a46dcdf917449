"""Quality of a quantized image generator: density and coverage of its images against the float generator's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.quantizations import Quality
from workers.evaluation.comparison import compare

_NEIGHBOR = 5
_GRID = 16
_MAX_IMAGES = 2000


@dataclass
class GeneratedImages:
    """Features of the images that the float and the quantized generator make."""

    features: tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]] = field(default_factory=lambda: ([], []))

    def add(self, outputs: Sequence[NDArray[np.generic]]) -> None:
        """Add the images of one batch, [B, C, H, W] of each generator; from 2,000 images on, nothing."""
        for collected, images in zip(self.features, outputs, strict=True):
            if sum(map(len, collected)) < _MAX_IMAGES:
                collected.append(grid_means(images))

    def quality(self) -> list[Quality]:
        """Return density and coverage; empty if there are too few images."""
        first, second = (np.concatenate(collected) for collected in self.features)
        if len(first) <= _NEIGHBOR:
            return []
        before, after = (compare(first, other, [_NEIGHBOR]).values()[0] for other in (first, second))
        return [
            Quality(metric=metric, before=before[metric], after=after[metric], samples=len(first))
            for metric in ("density", "coverage")
        ]


def grid_means(images: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return the mean of each cell of a 16 × 16 grid (fewer for smaller images), [B, C · rows · columns].

    Args:
        images: [B, C, H, W].
    """
    bands = [np.linspace(0, side, min(side, _GRID) + 1).astype(int)[:-1] for side in images.shape[2:]]
    sums = np.add.reduceat(np.add.reduceat(images.astype(np.float64), bands[0], axis=2), bands[1], axis=3)
    counts = [np.diff([*band, side]) for band, side in zip(bands, images.shape[2:], strict=True)]
    means: NDArray[np.float64] = sums / (counts[0][:, None] * counts[1])
    return means.reshape(len(images), -1).astype(np.float32)
