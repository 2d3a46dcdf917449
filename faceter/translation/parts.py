"""The parts of an image that a stage is run on, and what it must see around each."""

from dataclasses import dataclass
from math import ceil, isqrt
from typing import Literal

from faceter.translation.reach import Extent
from faceter.translation.stages import Plan, Stage

Axis = Literal["rows", "columns"]

LEAST_ROWS = 32
"""A part goes over the whole width if it then has so many rows, and several times those that it sees around them."""

_TIMES_THE_MARGIN = 4
_FAR = 1 << 16


@dataclass(frozen=True)
class Part:
    """A part of an image along one axis, in pixels.

    Attributes:
        first: The first pixel that it makes.
        end: The one after the last.
        seen_from: The first pixel that is looked at for it.
        seen_to: The one after the last.
        pixels: The whole image's.
    """

    first: int
    end: int
    seen_from: int
    seen_to: int
    pixels: int

    def seen(self, extent: Extent) -> tuple[int, int]:
        """Return which values of a tensor it looks at, the first and the one after the last."""
        return int(self.seen_from * extent.scale), extent.size(self.seen_to)

    def made(self, extent: Extent) -> tuple[int, int]:
        """Return which values of a tensor it makes; all parts together make each value once."""
        return made(extent, self.first, self.end, self.pixels)


def made(extent: Extent, first: int, end: int, pixels: int) -> tuple[int, int]:
    """Return the values of a tensor that belong to a part of an image, the first and the one after the last."""
    size = extent.size(pixels)
    return min(int(first * extent.scale), size), size if end == pixels else min(int(end * extent.scale), size)


def part(plan: Plan, stage: Stage, axis: Axis, first: int, end: int, pixels: int) -> Part:
    """Return a part with all that a stage must see for its results there to be the whole image's.

    Args:
        plan: The plan that the stage is of.
        stage: The stage.
        axis: Which axis.
        first: The first pixel, a multiple of the stage's unit.
        end: The one after the last, such a multiple or the image's end.
        pixels: The image's side, a multiple of the plan's unit.
    """
    extents = {name: getattr(grid, axis) for name, grid in plan.grids.items()}
    needed: dict[str, tuple[int, int]] = {}
    for name in stage.results:
        low, high = made(extents[name], first, end, pixels)
        if low < high:
            needed[name] = (low, high)
    for step in reversed(stage.steps):
        name = step.node.output[0]
        if name not in needed:
            continue
        for source in step.sources:
            low, high = getattr(step, axis).needed(*needed[name], extents[source].size(pixels))
            if source in needed:
                low, high = min(low, needed[source][0]), max(high, needed[source][1])
            needed[source] = (low, high)
    unit = stage.unit[0 if axis == "rows" else 1]
    seen_from, seen_to = first, end
    for name, (low, high) in needed.items():
        extent: Extent = extents[name]
        seen_from = min(seen_from, int(low / extent.scale) // unit * unit)
        seen_to = max(seen_to, ceil((high - extent.excess) / extent.scale / unit) * unit)
    return Part(first, end, max(seen_from, 0), min(seen_to, pixels), pixels)


def side_lengths(
    plan: Plan, stage: Stage, size: tuple[int, int], *, pixels: int, tile: int | None = None
) -> tuple[int, int]:
    """Return the height and width of a stage's parts, in pixels.

    Parts go over the whole width where they can, since then nothing is seen twice to their left and right and files
    are read in long runs; else they are about square. They are a multiple of the stage's unit and have one unit at
    least, whatever it takes.

    Args:
        plan: The plan that the stage is of.
        stage: The stage.
        size: The image's height and width.
        pixels: Most pixels that a part may see.
        tile: Height and width of the parts, where they are given.
    """
    height, width = size
    if tile is not None:
        return _rounded(tile, height, stage.unit[0]), _rounded(tile, width, stage.unit[1])
    margins = [_margin(plan, stage, axis) for axis in ("rows", "columns")]
    rows = pixels // width - margins[0]
    if rows >= min(height, max(LEAST_ROWS, _TIMES_THE_MARGIN * margins[0])):
        return _even(rows, height, stage.unit[0]), width
    side = isqrt(pixels)
    return _even(side - margins[0], height, stage.unit[0]), _even(side - margins[1], width, stage.unit[1])


def split(pixels: int, length: int) -> list[tuple[int, int]]:
    """Return the parts of a side, of a length each but the last."""
    return [(first, min(first + length, pixels)) for first in range(0, pixels, length)]


def _margin(plan: Plan, stage: Stage, axis: Axis) -> int:
    """Return how many pixels a part sees beyond those it makes, far from the image's border."""
    unit = plan.unit[0 if axis == "rows" else 1]
    found = part(plan, stage, axis, _FAR * unit, (_FAR + 1) * unit, 2 * _FAR * unit)
    return found.seen_to - found.seen_from - unit


def _rounded(length: int, pixels: int, unit: int) -> int:
    return min(max(ceil(length / unit), 1) * unit, pixels)


def _even(length: int, pixels: int, unit: int) -> int:
    """Return a length, at most the one given but one unit at least, that gives parts of about one size."""
    longest = max(length // unit * unit, unit)
    return _rounded(ceil(pixels / ceil(pixels / longest)), pixels, unit)
