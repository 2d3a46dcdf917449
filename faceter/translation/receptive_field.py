"""Receptive fields of operators along one axis of an image: which input values a range of output values needs.

Positions count the values of a tensor along one axis of the whole image; ranges are half-open, ``start`` to ``stop``.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol


@dataclass(frozen=True)
class AxisLength:
    """Number of values of a tensor along one axis: pixels · scale + offset.

    It holds for images whose side is a multiple of every ``scale.denominator`` of the graph.
    """

    scale: Fraction
    offset: int

    def size(self, pixels: int) -> int:
        """Return the number of values for an image side of ``pixels``."""
        return int(pixels * self.scale) + self.offset


class ReceptiveField(Protocol):
    """Receptive field of an operator along one axis."""

    @property
    def halo(self) -> Fraction:
        """Input values read beyond the output's own position, on one side; approximate."""

    def output_length(self, source: AxisLength) -> AxisLength:
        """Return the length of the output."""

    def input_range(self, start: int, stop: int, size: int) -> tuple[int, int]:
        """Return the range of an input of ``size`` values that outputs ``start`` to ``stop`` need; never empty."""


@dataclass(frozen=True)
class SlidingWindow:
    """Convolution and pooling; with a window of 1, element-wise operators.

    Output o reads inputs o · stride − before to o · stride − before + window − 1.

    Attributes:
        before: Padding before the first value.
        after: Padding after the last value.
        window: Values from the first tap to the last, inclusive (the dilated kernel size).
    """

    stride: int = 1
    before: int = 0
    after: int = 0
    window: int = 1

    @property
    def halo(self) -> Fraction:
        """Input values read beyond the output's own position, on one side; approximate."""
        return Fraction(self.window - 1, 2)

    def output_length(self, source: AxisLength) -> AxisLength:
        """Return the length of the output."""
        offset = (source.offset + self.before + self.after - self.window) // self.stride + 1
        return AxisLength(source.scale / self.stride, offset)

    def input_range(self, start: int, stop: int, size: int) -> tuple[int, int]:
        """Return the range of the input that a range of the output needs."""
        return clip_range(start * self.stride - self.before, (stop - 1) * self.stride - self.before + self.window, size)


@dataclass(frozen=True)
class TransposedWindow:
    """Transposed convolution and upsampling: each input contributes to a window of outputs.

    Input i contributes to outputs i · stride − before to i · stride − before + window − 1.

    Attributes:
        stride: Outputs per input.
        before: Outputs cropped at the start.
        after: Outputs cropped at the end; negative for output padding.
        window: Outputs that one input contributes to.
    """

    stride: int
    before: int
    after: int
    window: int

    @property
    def halo(self) -> Fraction:
        """Input values read beyond the output's own position, on one side; approximate."""
        return Fraction((self.window - 1) // self.stride, 2)

    def output_length(self, source: AxisLength) -> AxisLength:
        """Return the length of the output."""
        offset = (source.offset - 1) * self.stride + self.window - self.before - self.after
        return AxisLength(source.scale * self.stride, offset)

    def input_range(self, start: int, stop: int, size: int) -> tuple[int, int]:
        """Return the range of the input that a range of the output needs."""
        earliest = -((self.window - 1 - start - self.before) // self.stride)
        return clip_range(earliest, (stop - 1 + self.before) // self.stride + 1, size)


@dataclass(frozen=True)
class MirrorPadding:
    """Padding with values of the input: by reflection, or by repeating the border value.

    The operator needs an input longer than its padding; at a border of the input that is all that is reflected there.

    Attributes:
        before: Padding before the first value.
        after: Padding after the last value.
    """

    before: int
    after: int

    @property
    def halo(self) -> Fraction:
        """Zero: only tiles at the image's border read reflected values."""
        return Fraction(0)

    def output_length(self, source: AxisLength) -> AxisLength:
        """Return the length of the output."""
        return AxisLength(source.scale, source.offset + self.before + self.after)

    def input_range(self, start: int, stop: int, size: int) -> tuple[int, int]:
        """Return the range of the input that a range of the output needs."""
        low, high = clip_range(start - self.before, stop - self.before, size)
        missing = max(self.before, self.after) + 1 - (high - low)
        return clip_range(low - max(missing, 0), high + max(missing, 0), size)


def clip_range(start: int, stop: int, size: int) -> tuple[int, int]:
    """Return a range clipped to ``size`` values, with at least one value."""
    start = min(max(start, 0), size - 1)
    return start, min(max(stop, start + 1), size)
