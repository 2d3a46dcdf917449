"""k nearest neighbours, block by block: memory grows with the number of samples, not with the number of pairs.

Candidates come from matrix products; distances and their order are computed in float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from faceter.datasets.samples import ProgressFunction
from workers.evaluation.points import (
    Floats,
    Integers,
    Points,
    Rows,
    center_and_scale,
    exact_distances,
    row_blocks,
    squared_distances,
)
from workers.host import compute_device
from workers.jobs.division import Arrays
from workers.jobs.journal import Journal, State, resumable

_ROWS, _COLUMNS = 1024, 2048
_SPARE_CANDIDATES = 4
_GROUP = 16
_MAX_AMBIGUOUS_FRACTION = 0.05
_TRIAL_SAMPLES, _TRIAL_NEIGHBORS = 1024, 5
_SEARCH_FRACTION = 0.95


@dataclass(frozen=True)
class Neighbors:
    """The nearest neighbours of each sample, nearest first; ties in the order of their index.

    Args:
        distances: float64 [N, k], divided by the common scale.
        indices: int64 [N, k].
    """

    distances: Floats
    indices: Integers


def scaled_points(*sets: Rows) -> list[Points]:
    """Return sets of samples with the center of the first and a common scale, for products in float32 if possible.

    Where float32 leaves too many neighbours ambiguous, as for samples in distant clusters, products are in float64.
    This is tried on a few samples of the first set.

    Args:
        sets: Features, [N, D] each, finite.
    """
    center, scale = center_and_scale(sets)
    trial = sets[0][:: max(1, len(sets[0]) // _TRIAL_SAMPLES)]
    points = Points(trial, center, scale)
    search = NeighborSearch(points, points, min(_TRIAL_NEIGHBORS, len(trial) - 1))
    whole = slice(0, len(points))
    search.add_block(whole, squared_distances(points, whole, points, whole).fill_diagonal_(torch.inf), whole)
    dtype = torch.float64 if search.needs_float64 else torch.float32
    return [Points(rows, center, scale, dtype, compute_device()) for rows in sets]


def nearest(
    x: Points,
    y: Points,
    k: int,
    progress: ProgressFunction = lambda _: None,
    journal: Journal | None = None,
    stage: str = "nearest",
) -> Neighbors:
    """Return the ``k`` nearest samples in ``y`` of each sample of ``x``; within a set the sample itself is excluded.

    Args:
        x: [N, D].
        y: [M, D], with the same center and scale; ``x`` itself for the neighbours within a set.
        k: At most M, or M − 1 within a set.
        progress: Called with the fraction done.
        journal: Stores the state of the search, to resume from.
        stage: Name of the state in the journal.
    """
    search = NeighborSearch(x, y, k)
    pairs = block_pairs(x, y)
    for part, columns in resumable(pairs, search, journal, stage, lambda done: progress(_SEARCH_FRACTION * done)):
        search.compare(part, columns)
    neighbors = search.result()
    progress(1.0)
    return neighbors


def block_pairs(x: Points, y: Points) -> list[tuple[slice, slice]]:
    """Return the pairs of blocks whose distances find all neighbours of ``x`` in ``y``; ``x`` itself within a set."""
    rows = row_blocks(len(x), _ROWS)
    return [(part, columns) for part in rows for columns in _column_blocks(part, len(y), within=x is y)]


def _column_blocks(part: slice, count: int, *, within: bool) -> list[slice]:
    """Return the blocks that a block is compared with; within a set each pair of blocks is compared once."""
    if not within:
        return row_blocks(count, _COLUMNS)
    return [other for other in row_blocks(count, _ROWS) if other.start >= part.start]


class NeighborSearch:
    """Collects the nearest neighbours of each sample from blocks of squared distances.

    A few spare candidates are kept, since the error of a matrix product may change the order.

    Args:
        x: The samples, [N, D].
        y: Where neighbours are searched, [M, D]; ``x`` itself within a set.
        k: Neighbours of each sample.
    """

    def __init__(self, x: Points, y: Points, k: int) -> None:
        self._x, self._y, self._k = x, y, k
        self._candidates = min(k + _SPARE_CANDIDATES, len(y))
        self._values = torch.full((len(x), self._candidates), torch.inf, dtype=x.scaled.dtype)
        self._indices = torch.zeros((len(x), self._candidates), dtype=torch.int64)

    def compare(self, rows: slice, columns: slice) -> None:
        """Add the distances between two blocks, one of `block_pairs`."""
        within = self._x is self._y
        squares = squared_distances(self._x, rows, self._y, columns)
        if within and rows == columns:
            squares.fill_diagonal_(torch.inf)
        self.add_block(rows, squares, columns)
        if within and rows != columns:
            self.add_block(columns, squares, rows, transposed=True)

    def add_block(self, rows: slice, squares: Tensor, columns: slice, *, transposed: bool = False) -> None:
        """Add a block of squared distances, [B, C].

        Args:
            rows: The samples of x.
            squares: Infinite for excluded pairs.
            columns: The samples of y.
            transposed: Whether samples of x are the columns of ``squares``, [C, B].
        """
        limits = self._values[rows, -1].numpy()
        near = np.flatnonzero(squares.numpy() < (limits if transposed else limits[:, None]))
        if len(near) > self._candidates * len(limits):
            values, indices = smallest_per_row(squares.T if transposed else squares, self._candidates)
            self._merge(np.arange(rows.start, rows.stop), values, indices + columns.start)
        elif len(near):
            own, others = np.divmod(near, squares.shape[1])
            if transposed:
                order = np.argsort(others, kind="stable")
                own, others, near = others[order], own[order], near[order]
            values_near = squares.view(-1).numpy()[near]
            self._merge(*_padded_rows(own + rows.start, values_near, others + columns.start))

    def _merge(self, rows: Integers, values: Tensor, indices: Tensor) -> None:
        """Keep the smallest of the candidates and the new values of some samples, [R, ·]."""
        places = torch.from_numpy(rows)
        values = torch.cat([self._values[places], values], 1)
        indices = torch.cat([self._indices[places], indices], 1)
        self._values[places], order = torch.topk(values, self._candidates, largest=False, sorted=True)
        self._indices[places] = indices.gather(1, order)

    def state(self, done: int) -> State:
        """Return the candidates after so many blocks."""
        return {"values": self._values.numpy(), "indices": self._indices.numpy(), "done": np.array(done)}

    def restore(self, state: State | None) -> int:
        """Resume from a state; return the number of blocks done."""
        if state is None:
            return 0
        self._values, self._indices = torch.from_numpy(state["values"]), torch.from_numpy(state["indices"])
        return int(state["done"])

    def merge(self, state: Arrays) -> None:
        """Add the candidates of a search over other blocks; in any order, since ambiguous samples are found again."""
        everything = np.arange(len(self._x))
        self._merge(everything, torch.from_numpy(state["values"]), torch.from_numpy(state["indices"]))

    @property
    def needs_float64(self) -> bool:
        """Whether so many samples are ambiguous that products in float64 are faster."""
        return float(self._ambiguous().mean()) > _MAX_AMBIGUOUS_FRACTION

    def result(self) -> Neighbors:
        """Return the nearest neighbours by exact distances; of ambiguous samples among all samples of y."""
        ambiguous = self._ambiguous()
        neighbors = Neighbors(np.empty((len(self._x), self._k)), np.empty((len(self._x), self._k), np.int64))
        clear = np.flatnonzero(~ambiguous)
        candidates, values = self._indices.numpy()[clear], self._values.numpy()[clear].astype(np.float64)
        likely = np.isfinite(values) & (values <= (values[:, self._k - 1] + 2 * self._bound()[clear])[:, None])
        rows, places = np.nonzero(likely)
        distances = np.full(values.shape, np.inf)
        distances[likely] = exact_distances(self._x, clear[rows], self._y, candidates[rows, places])
        _rank(neighbors, clear, distances, candidates)
        everything = np.arange(len(self._y))
        for row in np.flatnonzero(ambiguous):
            own = exact_distances(self._x, np.full(len(everything), row), self._y, everything)[None]
            if self._x is self._y:
                own[0, row] = np.inf
            _rank(neighbors, np.array([row]), own, everything[None])
        return neighbors

    def _bound(self) -> Floats:
        """Return the error bound of the squared distances of each sample, [N]."""
        return np.asarray(self._x.error * np.square(self._x.norms + self._y.norms.max()))

    def _ambiguous(self) -> NDArray[np.bool_]:
        """Return the samples whose nearest neighbours may not all be among the candidates, [N]."""
        if self._candidates == len(self._y):
            return np.zeros(len(self._x), bool)
        kth, last = (self._values[:, column].double().numpy() for column in (self._k - 1, -1))
        return np.asarray(last <= kth + 2 * self._bound())


def _rank(neighbors: Neighbors, rows: Integers, distances: Floats, candidates: Integers) -> None:
    """Set the k nearest candidates of some samples in place, by distance and then by index."""
    order = np.lexsort((candidates, distances), axis=1)[:, : neighbors.indices.shape[1]]
    neighbors.distances[rows] = np.take_along_axis(distances, order, 1)
    neighbors.indices[rows] = np.take_along_axis(candidates, order, 1)


def smallest_per_row(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the ``count`` smallest values of each row and their columns, [B, min(count, C)] both, unsorted.

    Rows are split into groups; only the groups with the smallest minima are searched.

    Args:
        values: [B, C].
        count: Values of each row.
    """
    rows, columns = values.shape
    groups = columns // _GROUP
    if groups <= 2 * count:
        top = torch.topk(values, min(count, columns), largest=False, sorted=False)
        return top.values, top.indices
    whole = values[:, : groups * _GROUP].view(rows, _GROUP, groups) if values.is_contiguous() else None
    if whole is None:
        return smallest_per_row(values.contiguous(), count)
    best = torch.topk(whole.amin(1), count, largest=False, sorted=False).indices
    members = (best[:, None] + groups * torch.arange(_GROUP)[:, None]).reshape(rows, -1)
    rest = torch.arange(groups * _GROUP, columns).expand(rows, -1)
    candidates = torch.cat([members, rest], 1)
    picked = torch.topk(values.gather(1, candidates), count, largest=False, sorted=False)
    return picked.values, candidates.gather(1, picked.indices)


def _padded_rows(rows: Integers, values: NDArray[Any], indices: Integers) -> tuple[Integers, Tensor, Tensor]:
    """Return entries, [P] each and sorted by row, as padded arrays: rows [R], values and indices [R, W].

    Values are padded with infinity.
    """
    present, starts, counts = np.unique(rows, return_index=True, return_counts=True)
    lines = np.repeat(np.arange(len(present)), counts)
    places = np.arange(len(rows)) - starts[lines]
    wide = np.full((len(present), counts.max()), np.inf, values.dtype)
    wide_indices = np.zeros(wide.shape, np.int64)
    wide[lines, places], wide_indices[lines, places] = values, indices
    return present, torch.from_numpy(wide), torch.from_numpy(wide_indices)
