"""Nearest neighbours, block by block: memory grows with the number of samples, not with the number of pairs.

Candidates come from matrix products; distances and their order are decided in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workers.evaluation.points import Floats, Integers, Points, Rows, common_frame, exact_distances, squared_distances
from workers.host import compute_device
from workers.jobs.journal import Journal, State, through

_ROWS, _COLUMNS = 1024, 2048
_SPARE = 4
_GROUP = 16
_CROWDED = 0.05
_TRIED, _TRIED_NEIGHBORS = 1024, 5
_LOOKED = 0.95

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


def in_frame(*sets: Rows) -> list[Points]:
    """Return sets of samples in one frame, that of the first, for products in float32 where those tell samples apart.

    Where float32 leaves too much undecided, as for samples in far clusters, they are for products in float64. A few
    samples of the first set are tried.

    Args:
        sets: Features, [N, D] each, finite.
    """
    center, scale = common_frame(sets)
    tried = sets[0][:: max(1, len(sets[0]) // _TRIED)]
    points = Points(tried, center, scale)
    search = Search(points, points, min(_TRIED_NEIGHBORS, len(tried) - 1))
    whole = slice(0, len(points))
    search.take(whole, squared_distances(points, whole, points, whole).fill_diagonal_(torch.inf), whole)
    dtype = torch.float64 if search.is_too_coarse else torch.float32
    return [Points(rows, center, scale, dtype, compute_device()) for rows in sets]


def nearest(
    x: Points,
    y: Points,
    k: int,
    progress: Progress = lambda _: None,
    journal: Journal | None = None,
    stage: str = "nearest",
) -> Neighbors:
    """Return the ``k`` nearest samples of ``y`` to each of ``x``; of one set the sample itself does not count.

    Args:
        x: [N, D].
        y: [M, D], in the same frame; ``x`` itself for the neighbours within a set.
        k: How many; at most M, or M − 1 within a set.
        progress: Called with the share that is done.
        journal: Keeps where the search stands, and may know where it stood.
        stage: What it is called there.
    """
    search = Search(x, y, k)
    rows = slices(len(x), _ROWS)
    pairs = [(part, columns) for part in rows for columns in _against(part, len(y), within=x is y)]
    for part, columns in through(pairs, search, journal, stage, lambda done: progress(_LOOKED * done)):
        squares = squared_distances(x, part, y, columns)
        if x is y and part == columns:
            squares.fill_diagonal_(torch.inf)
        search.take(part, squares, columns)
        if x is y and part != columns:
            search.take(columns, squares, part, transposed=True)
    found = search.settled()
    progress(1.0)
    return found


def _against(part: slice, count: int, *, within: bool) -> list[slice]:
    """Return the blocks that a block is compared with; within a set each two blocks meet once, for both of them."""
    if not within:
        return slices(count, _COLUMNS)
    return [other for other in slices(count, _ROWS) if other.start >= part.start]


class Search:
    """The nearest of each sample so far, as blocks of distances come in.

    A few more are kept than are wanted, as many as the error of a matrix product may have put in the wrong order.

    Args:
        x: Whose neighbours, [N, D].
        y: Among which, [M, D]; ``x`` itself within a set.
        k: How many.
    """

    def __init__(self, x: Points, y: Points, k: int) -> None:
        self._x, self._y, self._k = x, y, k
        self._kept = min(k + _SPARE, len(y))
        self._values = torch.full((len(x), self._kept), torch.inf, dtype=x.near.dtype)
        self._indices = torch.zeros((len(x), self._kept), dtype=torch.int64)

    def take(self, rows: slice, squares: Tensor, columns: slice, *, transposed: bool = False) -> None:
        """Take note of a block of squared distances, [B, C].

        Args:
            rows: Which samples of x.
            squares: Infinite for pairs that do not count.
            columns: Which of y.
            transposed: Whether samples of x are the columns of ``squares``, [C, B].
        """
        limits = self._values[rows, -1].numpy()
        near = np.flatnonzero(squares.numpy() < (limits if transposed else limits[:, None]))
        if len(near) > self._kept * len(limits):
            values, indices = smallest(squares.T if transposed else squares, self._kept)
            self._merge(np.arange(rows.start, rows.stop), values, indices + columns.start)
        elif len(near):
            which, others = np.divmod(near, squares.shape[1])
            if transposed:
                order = np.argsort(others, kind="stable")
                which, others, near = others[order], which[order], near[order]
            found = squares.view(-1).numpy()[near]
            self._merge(*_by_row(which + rows.start, found, others + columns.start))

    def _merge(self, rows: Integers, values: Tensor, indices: Tensor) -> None:
        """Keep the smallest of what is known of some samples and of what is new, [R, ·]."""
        places = torch.from_numpy(rows)
        values = torch.cat([self._values[places], values], 1)
        indices = torch.cat([self._indices[places], indices], 1)
        self._values[places], order = torch.topk(values, self._kept, largest=False, sorted=True)
        self._indices[places] = indices.gather(1, order)

    def state(self, done: int) -> State:
        """Return what is known after so many blocks."""
        return {"values": self._values.numpy(), "indices": self._indices.numpy(), "done": np.array(done)}

    def restored(self, state: State | None) -> int:
        """Go on from what was known; return after how many blocks that was."""
        if state is None:
            return 0
        self._values, self._indices = torch.from_numpy(state["values"]), torch.from_numpy(state["indices"])
        return int(state["done"])

    @property
    def is_too_coarse(self) -> bool:
        """Whether so many samples are crowded that products in float64 are worth their while."""
        return float(self._crowded().mean()) > _CROWDED

    def settled(self) -> Neighbors:
        """Return the nearest, decided in float64; for crowded samples among all there are."""
        crowded = self._crowded()
        found = Neighbors(np.empty((len(self._x), self._k)), np.empty((len(self._x), self._k), np.int64))
        plain = np.flatnonzero(~crowded)
        candidates, values = self._indices.numpy()[plain], self._values.numpy()[plain].astype(np.float64)
        likely = np.isfinite(values) & (values <= (values[:, self._k - 1] + 2 * self._bound()[plain])[:, None])
        rows, places = np.nonzero(likely)
        distances = np.full(values.shape, np.inf)
        distances[likely] = exact_distances(self._x, plain[rows], self._y, candidates[rows, places])
        self._settle(found, plain, distances, candidates)
        everything = np.arange(len(self._y))
        for row in np.flatnonzero(crowded):
            own = exact_distances(self._x, np.full(len(everything), row), self._y, everything)[None]
            if self._x is self._y:
                own[0, row] = np.inf
            self._settle(found, np.array([row]), own, everything[None])
        return found

    def _bound(self) -> Floats:
        """Return the most that a squared distance of each sample may be off, [N]."""
        return np.asarray(self._x.error * np.square(self._x.norms + self._y.norms.max()))

    def _crowded(self) -> NDArray[np.bool_]:
        """Return for which samples there may be more among the nearest than are kept, [N]."""
        if self._kept == len(self._y):
            return np.zeros(len(self._x), bool)
        kth, last = (self._values[:, column].double().numpy() for column in (self._k - 1, -1))
        return np.asarray(last <= kth + 2 * self._bound())

    def _settle(self, found: Neighbors, rows: Integers, distances: Floats, candidates: Integers) -> None:
        order = np.lexsort((candidates, distances), axis=1)[:, : self._k]
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


def _by_row(rows: Integers, values: NDArray[Any], indices: Integers) -> tuple[Integers, Tensor, Tensor]:
    """Return entries, [P] each and sorted by row, as one line for each row: rows [R], values and indices [R, W].

    Lines that are shorter than the longest end with infinite values.
    """
    present, starts, counts = np.unique(rows, return_index=True, return_counts=True)
    lines = np.repeat(np.arange(len(present)), counts)
    places = np.arange(len(rows)) - starts[lines]
    wide = np.full((len(present), counts.max()), np.inf, values.dtype)
    wide_indices = np.zeros(wide.shape, np.int64)
    wide[lines, places], wide_indices[lines, places] = values, indices
    return present, torch.from_numpy(wide), torch.from_numpy(wide_indices)


def slices(count: int, step: int) -> list[slice]:
    """Return slices of ``count`` rows, ``step`` of them at a time."""
    return [slice(first, min(first + step, count)) for first in range(0, count, step)]
