"""Tiles that a generator stage runs on, and the halo that each must read for exact results."""

from dataclasses import dataclass
from math import ceil, isqrt
from typing import Literal

from faceter.translation.receptive_field import AxisLength
from faceter.translation.stages import GeneratorStage, TilingPlan

TileAxis = Literal["rows", "columns"]

MIN_ROWS = 32
"""Tiles span the whole width if memory then allows this many rows, and `_MIN_ROWS_PER_HALO` times those of the halo."""

_MIN_ROWS_PER_HALO = 4
_INTERIOR = 1 << 16


@dataclass(frozen=True)
class TileSpan:
    """A tile along one axis, in pixels; ranges are half-open.

    Attributes:
        start: First pixel that it computes.
        stop: The one after the last.
        read_start: First pixel that it reads, halo included.
        read_stop: The one after the last.
        pixels: The image's side.
    """

    start: int
    stop: int
    read_start: int
    read_stop: int
    pixels: int

    def input_range(self, length: AxisLength) -> tuple[int, int]:
        """Return the range of values of an input tensor that the tile reads."""
        return int(self.read_start * length.scale), length.size(self.read_stop)

    def output_range(self, length: AxisLength) -> tuple[int, int]:
        """Return the range of values of an output tensor that the tile computes; tiles do not overlap in it."""
        return output_range(length, self.start, self.stop, self.pixels)


def output_range(length: AxisLength, start: int, stop: int, pixels: int) -> tuple[int, int]:
    """Return the range of values of a tensor that belong to pixels ``start`` to ``stop`` of an image side."""
    size = length.size(pixels)
    return min(int(start * length.scale), size), size if stop == pixels else min(int(stop * length.scale), size)


def tile_span(plan: TilingPlan, stage: GeneratorStage, axis: TileAxis, start: int, stop: int, pixels: int) -> TileSpan:
    """Return a tile with the halo that makes the stage's outputs on it equal those of the whole image.

    Args:
        plan: The plan that the stage belongs to.
        stage: The stage.
        axis: Which axis.
        start: The first pixel, a multiple of the stage's stride.
        stop: The one after the last, a multiple of the stride or the image's end.
        pixels: The image's side, a multiple of the plan's stride.
    """
    lengths = {name: getattr(shape, axis) for name, shape in plan.shapes.items()}
    needed: dict[str, tuple[int, int]] = {}
    for name in stage.outputs:
        low, high = output_range(lengths[name], start, stop, pixels)
        if low < high:
            needed[name] = (low, high)
    for node in reversed(stage.nodes):
        name = node.node.output[0]
        if name not in needed:
            continue
        for source in node.inputs:
            low, high = getattr(node, axis).input_range(*needed[name], lengths[source].size(pixels))
            if source in needed:
                low, high = min(low, needed[source][0]), max(high, needed[source][1])
            needed[source] = (low, high)
    stride = stage.stride[0 if axis == "rows" else 1]
    read_start, read_stop = start, stop
    for name, (low, high) in needed.items():
        length: AxisLength = lengths[name]
        read_start = min(read_start, int(low / length.scale) // stride * stride)
        read_stop = max(read_stop, ceil((high - length.offset) / length.scale / stride) * stride)
    return TileSpan(start, stop, max(read_start, 0), min(read_stop, pixels), pixels)


def tile_size(
    plan: TilingPlan, stage: GeneratorStage, size: tuple[int, int], *, pixels: int, tile: int | None = None
) -> tuple[int, int]:
    """Return the height and width of a stage's tiles, halo not included, in pixels.

    Tiles span the whole width where memory allows it: they then have no halo on the left and right, and files are read
    in long runs. Otherwise they are about square. They are multiples of the stage's stride, and at least one stride.

    Args:
        plan: The plan that the stage belongs to.
        stage: The stage.
        size: The image's height and width.
        pixels: Most pixels that a tile may read, halo included.
        tile: Requested height and width of the tiles.
    """
    height, width = size
    if tile is not None:
        return _round_up(tile, height, stage.stride[0]), _round_up(tile, width, stage.stride[1])
    halos = [_halo(plan, stage, axis) for axis in ("rows", "columns")]
    rows = pixels // width - halos[0]
    if rows >= min(height, max(MIN_ROWS, _MIN_ROWS_PER_HALO * halos[0])):
        return _even(rows, height, stage.stride[0]), width
    side = isqrt(pixels)
    return _even(side - halos[0], height, stage.stride[0]), _even(side - halos[1], width, stage.stride[1])


def split_axis(pixels: int, length: int) -> list[tuple[int, int]]:
    """Return the half-open ranges that split a side into tiles of a length; the last one may be shorter."""
    return [(start, min(start + length, pixels)) for start in range(0, pixels, length)]


def _halo(plan: TilingPlan, stage: GeneratorStage, axis: TileAxis) -> int:
    """Return how many pixels a tile reads beyond those it computes, both sides together, far from the border."""
    stride = plan.stride[0 if axis == "rows" else 1]
    span = tile_span(plan, stage, axis, _INTERIOR * stride, (_INTERIOR + 1) * stride, 2 * _INTERIOR * stride)
    return span.read_stop - span.read_start - stride


def _round_up(length: int, pixels: int, stride: int) -> int:
    return min(max(ceil(length / stride), 1) * stride, pixels)


def _even(length: int, pixels: int, stride: int) -> int:
    """Return a tile length of at most ``length``, but at least one stride, that gives tiles of about equal size."""
    longest = max(length // stride * stride, stride)
    return _round_up(ceil(pixels / ceil(pixels / longest)), pixels, stride)
