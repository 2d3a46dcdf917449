"""Nearest neighbours, block by block: memory grows with the number of samples, not with the number of pairs.

Candidates come from matrix products; distances and their order are decided in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from workers.metrics.points import Floats, Integers, Points, exact_distances, squared_distances

_ROWS, _COLUMNS = 1024, 2048
_SPARE = 8
_GROUP = 16
_CROWDED = 0.05

Progress = Callable[[float], None]


@dataclass(frozen=True)
class Neighbors:
    """The nearest neighbours of each sample, nearest first; equally near ones in the order of their index.

    Args:
        distances: float64 [N, k], in units of the common scale.
        indices: int64 [N, k].
    """

    distances: Floats
    indices: Integers


def nearest(x: Points, y: Points, k: int, progress: Progress = lambda _: None) -> Neighbors:
    """Return the ``k`` nearest samples of ``y`` to each of ``x``; of one set the sample itself does not count.

    Args:
        x: [N, D].
        y: [M, D], in the same frame; ``x`` itself for the neighbours within a set.
        k: How many; at most M, or M − 1 within a set.
        progress: Called with the share that is done.
    """
    return _Search(x, y, k, progress).run()


class _Search:
    def __init__(self, x: Points, y: Points, k: int, progress: Progress) -> None:
        self.x, self.y, self.k, self.progress = x, y, k, progress
        self.within = x is y
        self.kept = min(k + _SPARE, len(y))
        self.values = torch.full((len(x), self.kept), torch.inf, dtype=x.near.dtype)
        self.indices = torch.zeros((len(x), self.kept), dtype=torch.int64)

    def run(self) -> Neighbors:
        self._gather()
        crowded = self._crowded()
        if self.x.near.dtype is torch.float32 and crowded.mean() > _CROWDED:
            x = self.x.in_float64()
            return nearest(x, x if self.within else self.y.in_float64(), self.k, self.progress)
        found = Neighbors(np.empty((len(self.x), self.k)), np.empty((len(self.x), self.k), np.int64))
        plain = np.flatnonzero(~crowded)
        candidates = self.indices.numpy()[plain]
        distances = self._exact(plain, candidates)
        distances[~np.isfinite(self.values.numpy()[plain])] = np.inf
        self._settle(found, plain, distances, candidates)
        for row in np.flatnonzero(crowded):
            everything = np.arange(len(self.y))[None]
            distances = self._exact(np.array([row]), everything)
            if self.within:
                distances[0, row] = np.inf
            self._settle(found, np.array([row]), distances, everything)
        self.progress(1.0)
        return found

    def _gather(self) -> None:
        """Keep the nearest of each sample by matrix product; within a set each block serves both of its sides."""
        rows = slices(len(self.x), _ROWS)
        done, total = 0, sum(len(self._columns(part)) for part in rows)
        for part in rows:
            for columns in self._columns(part):
                squares = squared_distances(self.x, part, self.y, columns)
                if self.within and part == columns:
                    squares.fill_diagonal_(torch.inf)
                self._take(part, squares, columns.start)
                if self.within and part != columns:
                    self._take(columns, squares.T, part.start)
                done += 1
                self.progress(0.95 * done / total)

    def _columns(self, part: slice) -> list[slice]:
        if not self.within:
            return slices(len(self.y), _COLUMNS)
        return [other for other in slices(len(self.y), _ROWS) if other.start >= part.start]

    def _take(self, rows: slice, squares: Tensor, first: int) -> None:
        values, columns = smallest(squares, self.kept)
        values = torch.cat([self.values[rows], values], 1)
        indices = torch.cat([self.indices[rows], columns + first], 1)
        self.values[rows], order = torch.topk(values, self.kept, largest=False, sorted=True)
        self.indices[rows] = indices.gather(1, order)

    def _crowded(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Return for which samples the candidates kept may not hold all that could be among the nearest, [N]."""
        if self.kept == len(self.y):
            return np.zeros(len(self.x), bool)
        bound = self.x.error * np.square(self.x.norms + self.y.norms.max())
        kth, last = (self.values[:, column].double().numpy() for column in (self.k - 1, -1))
        found: np.ndarray[tuple[int], np.dtype[np.bool_]] = last <= kth + 2 * bound
        return found

    def _exact(self, rows: Integers, candidates: Integers) -> Floats:
        pairs = np.repeat(rows, candidates.shape[1]), candidates.ravel()
        return exact_distances(self.x, pairs[0], self.y, pairs[1]).reshape(candidates.shape)

    def _settle(self, found: Neighbors, rows: Integers, distances: Floats, candidates: Integers) -> None:
        order = np.lexsort((candidates, distances), axis=1)[:, : self.k]
        found.distances[rows] = np.take_along_axis(distances, order, 1)
        found.indices[rows] = np.take_along_axis(candidates, order, 1)


def smallest(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the ``count`` smallest of each row and where they lie, [B, min(count, C)] both, in no order.

    Rows are cut into groups; the smallest lie in those groups that have the smallest minima, and nowhere else.

    Args:
        values: [B, C].
        count: How many.
    """
    rows, columns = values.shape
    groups = columns // _GROUP
    if groups <= 2 * count:
        found = torch.topk(values, min(count, columns), largest=False, sorted=False)
        return found.values, found.indices
    whole = values[:, : groups * _GROUP].view(rows, _GROUP, groups) if values.is_contiguous() else None
    if whole is None:
        return smallest(values.contiguous(), count)
    best = torch.topk(whole.amin(1), count, largest=False, sorted=False).indices
    members = (best[:, None] + groups * torch.arange(_GROUP)[:, None]).reshape(rows, -1)
    rest = torch.arange(groups * _GROUP, columns).expand(rows, -1)
    candidates = torch.cat([members, rest], 1)
    picked = torch.topk(values.gather(1, candidates), count, largest=False, sorted=False)
    return picked.values, candidates.gather(1, picked.indices)


def slices(count: int, step: int) -> list[slice]:
    """Return slices of ``count`` rows, ``step`` of them at a time."""
    return [slice(first, min(first + step, count)) for first in range(0, count, step)]
