"""Generated anchors of a detector's head."""

import itertools
import math
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.detection_parts import AnchorGrid

_ROUNDING: Final = 1e-6


def map_sizes(strides: list[float], input_size: tuple[int, int]) -> list[tuple[int, int]]:
    """Return rows and columns of cells of each feature map: the sides of the input by the stride, rounded up."""
    height, width = input_size
    return [(math.ceil(height / stride - _ROUNDING), math.ceil(width / stride - _ROUNDING)) for stride in strides]


def anchor_counts(grid: AnchorGrid, input_size: tuple[int, int]) -> list[int]:
    """Return the number of anchors of each feature map at this size of the input, height and width in pixels."""
    cells = map_sizes(grid.strides, input_size)
    return [rows * columns * each for (rows, columns), each in zip(cells, grid.per_cell, strict=True)]


def grid_anchors(grid: AnchorGrid, input_size: tuple[int, int]) -> NDArray[np.float32]:
    """Return the anchors at this size of the input.

    Args:
        grid: How they are generated.
        input_size: Height and width in pixels.

    Returns:
        float32 [M, 4]: centre x and y, width and height, as fractions of the input.
    """
    return _grid_anchors(grid.model_dump_json(), input_size)


@lru_cache(maxsize=8)
def _grid_anchors(text: str, input_size: tuple[int, int]) -> NDArray[np.float32]:
    grid = AnchorGrid.model_validate_json(text)
    ratios = grid.ratios * len(grid.sizes) if len(grid.ratios) == 1 else grid.ratios
    parts = []
    for stride, sizes, some, (rows, columns) in zip(
        grid.strides, grid.sizes, ratios, map_sizes(grid.strides, input_size), strict=True
    ):
        shapes = _ssd_shapes(sizes, some) if grid.arrangement == "ssd" else _all_shapes(sizes, some)
        boxes = np.concatenate([-np.array(shapes), np.array(shapes)], axis=1) / 2
        boxes = np.round(boxes) if grid.rounded else boxes
        row, column = np.divmod(np.arange(rows * columns), columns)
        centers = (np.stack([column, row], axis=1) + grid.offset) * stride
        corners = boxes[None] + np.tile(centers, 2)[:, None]
        middle, sides = (corners[..., :2] + corners[..., 2:]) / 2, corners[..., 2:] - corners[..., :2]
        parts.append(np.concatenate([middle, sides], axis=-1).reshape(-1, 4))
    height, width = input_size
    anchors = np.concatenate(parts) / [width, height, width, height]
    return (np.clip(anchors, 0, 1) if grid.clipped else anchors).astype(np.float32)


def _all_shapes(sizes: list[float], ratios: list[float]) -> list[tuple[float, float]]:
    """Return width and height of each ratio with each size."""
    return [(size / math.sqrt(ratio), size * math.sqrt(ratio)) for ratio, size in itertools.product(ratios, sizes)]


def _ssd_shapes(sizes: list[float], ratios: list[float]) -> list[tuple[float, float]]:
    """Return width and height of the boxes of a cell of SSD."""
    own, following = sizes
    between = math.sqrt(own * following)
    shapes = [(own, own), (between, between)]
    for ratio in ratios:
        long, short = own * math.sqrt(ratio), own / math.sqrt(ratio)
        shapes += [(long, short), (short, long)]
    return shapes
