"""How far an operator looks along one axis of an image: which part of its input a part of its output needs.

Positions count the values of a tensor along one axis of the whole image; parts are half-open, ``first`` to ``end``.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol


@dataclass(frozen=True)
class Extent:
    """How many values a tensor has along one axis: pixels · scale + excess.

    It holds for images whose side is a multiple of every ``scale.denominator`` of the graph.
    """

    scale: Fraction
    excess: int

    def size(self, pixels: int) -> int:
        """Return the number of values for a side of so many pixels."""
        return int(pixels * self.scale) + self.excess


class Reach(Protocol):
    """What an operator does along one axis."""

    @property
    def margin(self) -> Fraction:
        """Values of the input that it looks at beyond its place, on one side, about."""

    def extent(self, source: Extent) -> Extent:
        """Return the extent of its output."""

    def needed(self, first: int, end: int, size: int) -> tuple[int, int]:
        """Return the part of an input of ``size`` values that output ``first`` to ``end`` needs; never empty."""


@dataclass(frozen=True)
class Slide:
    """A window that slides over the input (convolution, pooling); with a window of 1, values one by one.

    Output o sees inputs o · stride − before to o · stride − before + window − 1.

    Attributes:
        stride: Steps of the window.
        before: Padding before the first value.
        after: Padding after the last.
        window: Values from the first tap to the last, inclusive.
    """

    stride: int = 1
    before: int = 0
    after: int = 0
    window: int = 1

    @property
    def margin(self) -> Fraction:
        """Values of the input that it looks at beyond its place, on one side, about."""
        return Fraction(self.window - 1, 2)

    def extent(self, source: Extent) -> Extent:
        """Return the extent of its output."""
        excess = (source.excess + self.before + self.after - self.window) // self.stride + 1
        return Extent(source.scale / self.stride, excess)

    def needed(self, first: int, end: int, size: int) -> tuple[int, int]:
        """Return the part of the input that an output part needs."""
        return within(first * self.stride - self.before, (end - 1) * self.stride - self.before + self.window, size)


@dataclass(frozen=True)
class Spread:
    """Each input spread over a window of outputs (transposed convolution, enlarging).

    Input i adds to outputs i · stride − before to i · stride − before + window − 1.

    Attributes:
        stride: Outputs per input.
        before: Outputs cut off at the start.
        after: Outputs cut off at the end; negative where some are added.
        window: Outputs an input reaches.
    """

    stride: int
    before: int
    after: int
    window: int

    @property
    def margin(self) -> Fraction:
        """Values of the input that it looks at beyond its place, on one side, about."""
        return Fraction((self.window - 1) // self.stride, 2)

    def extent(self, source: Extent) -> Extent:
        """Return the extent of its output."""
        excess = (source.excess - 1) * self.stride + self.window - self.before - self.after
        return Extent(source.scale * self.stride, excess)

    def needed(self, first: int, end: int, size: int) -> tuple[int, int]:
        """Return the part of the input that an output part needs."""
        earliest = -((self.window - 1 - first - self.before) // self.stride)
        return within(earliest, (end - 1 + self.before) // self.stride + 1, size)


@dataclass(frozen=True)
class Mirror:
    """Padding whose values come from the input: by reflection, or the outermost value repeated.

    The operator wants an input longer than its padding; at an end of the input that is all that is reflected there.

    Attributes:
        before: Padding before the first value.
        after: Padding after the last.
    """

    before: int
    after: int

    @property
    def margin(self) -> Fraction:
        """Values of the input that it looks at beyond its place, on one side: none but the image's own border's."""
        return Fraction(0)

    def extent(self, source: Extent) -> Extent:
        """Return the extent of its output."""
        return Extent(source.scale, source.excess + self.before + self.after)

    def needed(self, first: int, end: int, size: int) -> tuple[int, int]:
        """Return the part of the input that an output part needs."""
        lowest, highest = within(first - self.before, end - self.before, size)
        missing = max(self.before, self.after) + 1 - (highest - lowest)
        return within(lowest - max(missing, 0), highest + max(missing, 0), size)


def within(first: int, end: int, size: int) -> tuple[int, int]:
    """Return a part cut off at the ends of ``size`` values, with one value at least."""
    first = min(max(first, 0), size - 1)
    return first, min(max(end, first + 1), size)
