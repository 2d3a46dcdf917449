"""Images of nothing in particular with the statistics of photographs: shapes that lie over each other (dead leaves).

Occlusion gives them edges, plain areas and a 1/f spectrum at every size; networks for photographs take them for
something, which they do not do with noise. They cost nothing, so searches for inputs begin from them.

References:
    Lee, Mumford, Huang, "Occlusion Models for Natural Images", IJCV 2001.
    Baradad et al., "Learning to See by Looking at Noise", NeurIPS 2021, arXiv 2106.05963.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_FEWEST, _MOST = 6, 40
_TAIL = 1.5


def scenes(count: int, channels: int, height: int, width: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return images [count, channels, height, width] with values 0 to 1.

    Each has its own ground colour, spread of colours and number of ellipses and boxes, whose sizes follow a power law;
    a shape has a gradient over it, and all have a little noise.

    Args:
        count: How many.
        channels: Channels of each, 1 or 3.
        height: Pixels.
        width: Pixels.
        rng: Source of random numbers.
    """
    made = np.empty((count, channels, height, width), np.float32)
    for image in made:
        _paint(image, rng)
    noise = rng.normal(0.0, 0.02, size=made.shape).astype(np.float32)
    np.clip(made + noise, 0.0, 1.0, out=made)
    return made


def _paint(image: NDArray[np.float32], rng: np.random.Generator) -> None:
    channels, height, width = image.shape
    side = float(max(height, width))
    ground: NDArray[np.float64] = rng.uniform(0, 1, (channels,))
    spread = rng.uniform(0.1, 0.5)
    image[:] = ground[:, None, None]
    for _ in range(rng.integers(_FEWEST, _MOST)):
        reach = min(0.6, (rng.pareto(_TAIL) + 0.75) / 16) * side
        column, row = rng.uniform(-0.12, 1.12) * width, rng.uniform(-0.12, 1.12) * height
        angle, narrow, round_ = rng.uniform(0, np.pi), rng.uniform(0.3, 1.0), rng.random() < 0.5
        colour: NDArray[np.float64] = np.add(ground, rng.normal(0, spread / 2, channels)) + rng.normal(0, spread)
        gradient = rng.normal(0, 0.15)
        top, bottom = int(max(0, row - 1.5 * reach)), int(min(height, row + 1.5 * reach + 1))
        left, right = int(max(0, column - 1.5 * reach)), int(min(width, column + 1.5 * reach + 1))
        if top >= bottom or left >= right:
            continue
        y, x = np.mgrid[top:bottom, left:right]
        along = (x - column) * np.cos(angle) + (y - row) * np.sin(angle)
        across = ((y - row) * np.cos(angle) - (x - column) * np.sin(angle)) / narrow
        inside = along**2 + across**2 < reach**2 if round_ else np.maximum(abs(along), abs(across)) < reach
        shade = np.clip(colour, 0, 1)[:, None] + gradient * along[inside] / max(reach, 1.0)
        image[:, top:bottom, left:right][:, inside] = np.clip(shade, 0, 1)
