"""Activations at the pixels of a sample: bilinear, without corner alignment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workers.explanation.samples import Frame

_DENSE = 4

WHOLE = Frame()
"""The frame of samples that are the whole input."""


@dataclass(frozen=True)
class _Axis:
    """Between which two cells of an axis each pixel lies."""

    low: Tensor
    """The first of the two, int64 [pixels]."""
    high: Tensor
    """The second."""
    share: Tensor
    """How far the pixel is on the way to it, float32 [pixels]."""
    reach: Tensor
    """The pixels that lie at each cell, int64 [cells, most]; where there are fewer, one of them again and again."""

    @classmethod
    def of(cls, count: int, size: int, scale: float, offset: float, device: torch.device | None) -> _Axis:
        places = np.clip((_centres(count) * scale + offset) * size - 0.5, 0, size - 1)
        low = np.floor(places).astype(np.int64)
        high = np.minimum(low + 1, size - 1)
        first, last = np.searchsorted(high, np.arange(size)), np.searchsorted(low, np.arange(size), "right") - 1
        # a cell between two pixels of a coarse grid has none; what it is given then is looked at for nothing
        first, last = np.minimum(first, count - 1), np.clip(last, 0, count - 1)
        most = max(1, int((last - first).max()) + 1)
        reach = np.minimum(first[:, None] + np.arange(most), np.maximum(first, last)[:, None])
        arrays = (low, high, (places - low).astype(np.float32), reach)
        return cls(*(torch.from_numpy(array).to(device) for array in arrays))


class Sampler:
    """Brings maps of one size to the pixels of a grid.

    A value lies in the middle of its cell; beyond the middles of the outermost cells the map goes on as it is there.
    This is ``torch.nn.functional.interpolate(mode="bilinear", align_corners=False)`` where the sample is the whole
    input of the model. A value between two is never over the larger of them.

    Args:
        grid: Rows and columns of pixels.
        size: Rows and columns of the maps.
        frame: Where the sample lies in the model's input.
        device: Where the maps are.
    """

    def __init__(
        self,
        grid: tuple[int, int],
        size: tuple[int, int],
        frame: Frame = WHOLE,
        device: torch.device | None = None,
    ) -> None:
        self._grid = grid
        self._rows, self._columns = (
            _Axis.of(*axis, device) for axis in zip(grid, size, frame.scale, frame.offset, strict=True)
        )

    def __call__(self, maps: Tensor) -> Tensor:
        """Return float [U, pixels] of maps [U, rows, columns]."""
        rows, columns = self._rows, self._columns
        tall = between(maps[:, rows.low], maps[:, rows.high], rows.share[:, None])
        full = between(tall[:, :, columns.low], tall[:, :, columns.high], columns.share)
        return full.reshape(len(maps), -1)

    def firing(self, maps: Tensor, over: Tensor) -> tuple[Tensor, Tensor]:
        """Return where maps are over thresholds, as ``torch.nonzero(self(maps) > over[:, None], as_tuple=True)`` does.

        A pixel can be over only if one of the cells around it is, so where few are, only pixels around these are
        looked at.

        Args:
            maps: float [U, rows, columns].
            over: float [U].

        Returns:
            Units and pixels, int64 [n] each, in rising order.
        """
        height, width = self._grid
        unit, row, column = torch.nonzero(maps > over[:, None, None], as_tuple=True)
        around = self._rows.reach.shape[1] * self._columns.reach.shape[1]
        if len(unit) * around * _DENSE > len(maps) * height * width:
            unit, pixel = torch.nonzero(self(maps) > over[:, None], as_tuple=True)
            return unit, pixel
        rows, columns = self._rows.reach[row][:, :, None], self._columns.reach[column][:, None]
        near = torch.zeros(len(maps) * height * width, dtype=torch.bool, device=maps.device)
        near[((unit[:, None, None] * height + rows) * width + columns).reshape(-1)] = True
        places = _places(near)
        unit = places // (height * width)
        pixel = places - unit * (height * width)
        over_here = self._at(maps, unit, pixel // width, pixel % width) > over[unit]
        return unit[over_here], pixel[over_here]

    def _at(self, maps: Tensor, unit: Tensor, row: Tensor, column: Tensor) -> Tensor:
        """Return what `__call__` does at some pixels, float [n]."""
        rows, columns = self._rows, self._columns
        low, high, share = rows.low[row], rows.high[row], rows.share[row]
        left, right = (
            between(maps[unit, low, side], maps[unit, high, side], share)
            for side in (columns.low[column], columns.high[column])
        )
        return between(left, right, columns.share[column])


def _places(bits: Tensor) -> Tensor:
    """Return where bits are true, int64 [n]; numpy is several times as fast at that on a CPU."""
    if bits.device.type == "cpu":
        return torch.from_numpy(np.flatnonzero(bits.numpy()))
    return torch.nonzero(bits).squeeze(1)


def between(one: Tensor, other: Tensor, share: Tensor) -> Tensor:
    """Return ``one + share · (other − one)``, rounded so that it is never over the larger or under the smaller."""
    apart = other - one
    return torch.where(share < 0.5, one + share * apart, other - (1 - share) * apart)


def visible(grid: tuple[int, int], frame: Frame) -> NDArray[np.bool_] | None:
    """Return which pixels of a sample the model sees, bool [pixels]; None if all."""
    if frame.is_whole:
        return None
    rows, columns = (
        ((places := _centres(count) * scale + offset) >= 0) & (places <= 1)
        for count, scale, offset in zip(grid, frame.scale, frame.offset, strict=True)
    )
    seen = (rows[:, None] & columns).reshape(-1)
    return None if seen.all() else seen


def _centres(count: int) -> NDArray[np.float64]:
    return np.asarray((np.arange(count) + 0.5) / count)
