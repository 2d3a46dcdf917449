"""Bilinear upsampling of activation maps to the resolution of masks (Network Dissection, section 2.2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workers.explanation.probe.dataset import InputPlacement

_SPARSE_FACTOR = 4
"""How many times as many pixels as the candidates there must be for the sparse path to pay."""

WHOLE_INPUT = InputPlacement()
"""Placement of samples that fill the model's input."""


@dataclass(frozen=True)
class _AxisInterpolation:
    """Linear interpolation along one axis: between which two cells each pixel lies."""

    low: Tensor
    """Lower cell of each pixel, int64 [pixels]."""
    high: Tensor
    """Upper cell of each pixel, int64 [pixels]."""
    weight: Tensor
    """Weight of the upper cell, float32 [pixels]."""
    affected: Tensor
    """Pixels that each cell affects, int64 [cells, most]; padded by repetition."""

    @classmethod
    def of(cls, count: int, size: int, scale: float, offset: float, device: torch.device | None) -> _AxisInterpolation:
        positions = np.clip((_centres(count) * scale + offset) * size - 0.5, 0, size - 1)
        low = np.floor(positions).astype(np.int64)
        high = np.minimum(low + 1, size - 1)
        first, last = np.searchsorted(high, np.arange(size)), np.searchsorted(low, np.arange(size), "right") - 1
        # a cell between two pixels of a coarse grid affects none; it gets a neighbour, which costs a look and no error
        first, last = np.minimum(first, count - 1), np.clip(last, 0, count - 1)
        most = max(1, int((last - first).max()) + 1)
        affected = np.minimum(first[:, None] + np.arange(most), np.maximum(first, last)[:, None])
        arrays = (low, high, (positions - low).astype(np.float32), affected)
        return cls(*(torch.from_numpy(array).to(device) for array in arrays))


class Upsampler:
    """Upsamples activation maps of one size to a grid of pixels.

    Where the sample fills the model's input this is ``torch.nn.functional.interpolate(mode="bilinear",
    align_corners=False)``, rounded so that no value is over the larger of its neighbours.

    Args:
        grid: Rows and columns of pixels.
        size: Rows and columns of the maps.
        placement: Where the sample lies in the model's input.
        device: Device of the maps.
    """

    def __init__(
        self,
        grid: tuple[int, int],
        size: tuple[int, int],
        placement: InputPlacement = WHOLE_INPUT,
        device: torch.device | None = None,
    ) -> None:
        self._grid = grid
        self._rows, self._columns = (
            _AxisInterpolation.of(*axis, device)
            for axis in zip(grid, size, placement.scale, placement.offset, strict=True)
        )

    def __call__(self, maps: Tensor) -> Tensor:
        """Return maps [U, rows, columns] at the pixels, float [U, pixels]."""
        rows, columns = self._rows, self._columns
        tall = lerp(maps[:, rows.low], maps[:, rows.high], rows.weight[:, None])
        full = lerp(tall[:, :, columns.low], tall[:, :, columns.high], columns.weight)
        return full.reshape(len(maps), -1)

    def firing(self, maps: Tensor, thresholds: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``torch.nonzero(self(maps) > thresholds[:, None], as_tuple=True)``.

        A pixel can be over the threshold only if one of its four cells is. Where few cells are, only the pixels that
        these affect are interpolated.

        Args:
            maps: float [U, rows, columns].
            thresholds: float [U].

        Returns:
            Units and pixels, int64 [n] each, in ascending order.
        """
        height, width = self._grid
        unit, row, column = torch.nonzero(maps > thresholds[:, None, None], as_tuple=True)
        per_cell = self._rows.affected.shape[1] * self._columns.affected.shape[1]
        if len(unit) * per_cell * _SPARSE_FACTOR > len(maps) * height * width:
            unit, pixel = torch.nonzero(self(maps) > thresholds[:, None], as_tuple=True)
            return unit, pixel
        rows, columns = self._rows.affected[row][:, :, None], self._columns.affected[column][:, None]
        candidates = torch.zeros(len(maps) * height * width, dtype=torch.bool, device=maps.device)
        candidates[((unit[:, None, None] * height + rows) * width + columns).reshape(-1)] = True
        places = _flat_nonzero(candidates)
        unit = places // (height * width)
        pixel = places - unit * (height * width)
        fires = self._at(maps, unit, pixel // width, pixel % width) > thresholds[unit]
        return unit[fires], pixel[fires]

    def _at(self, maps: Tensor, unit: Tensor, row: Tensor, column: Tensor) -> Tensor:
        """Return the values of `__call__` at some pixels, float [n]."""
        rows, columns = self._rows, self._columns
        low, high, weight = rows.low[row], rows.high[row], rows.weight[row]
        left, right = (
            lerp(maps[unit, low, side], maps[unit, high, side], weight)
            for side in (columns.low[column], columns.high[column])
        )
        return lerp(left, right, columns.weight[column])


def _flat_nonzero(bits: Tensor) -> Tensor:
    """Return where bits [n] are true, int64; numpy is several times as fast at that on a CPU."""
    if bits.device.type == "cpu":
        return torch.from_numpy(np.flatnonzero(bits.numpy()))
    return torch.nonzero(bits).squeeze(1)


def lerp(start: Tensor, end: Tensor, weight: Tensor) -> Tensor:
    """Return ``start + weight · (end − start)``, rounded so that it stays between the two."""
    difference = end - start
    return torch.where(weight < 0.5, start + weight * difference, end - (1 - weight) * difference)


def visible_pixels(grid: tuple[int, int], placement: InputPlacement) -> NDArray[np.bool_] | None:
    """Return which pixels of a sample lie in the model's input, bool [pixels]; None if all do."""
    if placement.is_whole:
        return None
    rows, columns = (
        ((positions := _centres(count) * scale + offset) >= 0) & (positions <= 1)
        for count, scale, offset in zip(grid, placement.scale, placement.offset, strict=True)
    )
    visible = (rows[:, None] & columns).reshape(-1)
    return None if visible.all() else visible


def _centres(count: int) -> NDArray[np.float64]:
    return np.asarray((np.arange(count) + 0.5) / count)
