"""Procedural images of the dead-leaves model: random shapes that occlude each other.

Occlusion gives them edges, flat areas and a 1/f spectrum, as photographs have; unlike noise they excite the features of
networks for photographs. Synthesis is initialized with them.

References:
    Lee, Mumford, Huang, "Occlusion Models for Natural Images", IJCV 2001.
    Baradad et al., "Learning to See by Looking at Noise", NeurIPS 2021, arXiv 2106.05963.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MIN_SHAPES, _MAX_SHAPES = 6, 40
_PARETO_SHAPE = 1.5


def dead_leaves(count: int, channels: int, height: int, width: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return images [count, channels, height, width] with values 0 to 1.

    Each has its own background colour, colour spread and number of ellipses and boxes, whose sizes follow a power law;
    each shape has a linear gradient; Gaussian noise of deviation 0.02 is added.
    """
    images = np.empty((count, channels, height, width), np.float32)
    for image in images:
        _paint(image, rng)
    noise = rng.normal(0.0, 0.02, size=images.shape).astype(np.float32)
    np.clip(images + noise, 0.0, 1.0, out=images)
    return images


def _paint(image: NDArray[np.float32], rng: np.random.Generator) -> None:
    channels, height, width = image.shape
    side = float(max(height, width))
    background: NDArray[np.float64] = rng.uniform(0, 1, (channels,))
    spread = rng.uniform(0.1, 0.5)
    image[:] = background[:, None, None]
    for _ in range(rng.integers(_MIN_SHAPES, _MAX_SHAPES)):
        radius = min(0.6, (rng.pareto(_PARETO_SHAPE) + 0.75) / 16) * side
        column, row = rng.uniform(-0.12, 1.12) * width, rng.uniform(-0.12, 1.12) * height
        angle, narrow, round_ = rng.uniform(0, np.pi), rng.uniform(0.3, 1.0), rng.random() < 0.5
        colour: NDArray[np.float64] = np.add(background, rng.normal(0, spread / 2, channels)) + rng.normal(0, spread)
        gradient = rng.normal(0, 0.15)
        top, bottom = int(max(0, row - 1.5 * radius)), int(min(height, row + 1.5 * radius + 1))
        left, right = int(max(0, column - 1.5 * radius)), int(min(width, column + 1.5 * radius + 1))
        if top >= bottom or left >= right:
            continue
        y, x = np.mgrid[top:bottom, left:right]
        along = (x - column) * np.cos(angle) + (y - row) * np.sin(angle)
        across = ((y - row) * np.cos(angle) - (x - column) * np.sin(angle)) / narrow
        inside = along**2 + across**2 < radius**2 if round_ else np.maximum(abs(along), abs(across)) < radius
        shade = np.clip(colour, 0, 1)[:, None] + gradient * along[inside] / max(radius, 1.0)
        image[:, top:bottom, left:right][:, inside] = np.clip(shade, 0, 1)
