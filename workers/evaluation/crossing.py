"""Which samples of one set lie in the balls of another: all that density, coverage, precision and recall are made of.

The ball of a sample has the distance to its k-th nearest other sample of its own set as its radius. Real and generated
samples are compared block by block, for all k at once; pairs that a matrix product leaves undecided are decided in
float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workers.evaluation.neighbors import Neighbors, Progress, Search, slices
from workers.evaluation.points import Floats, Integers, Points, exact_distances, squared_distances
from workers.jobs.journal import Journal, State, through

_ROWS, _COLUMNS = 1024, 2048
_ROUNDED = 1e-6
_FAR = 50.0

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Crossing:
    """How often balls of one set hold samples of the other, for each of K radii.

    Args:
        real_balls: How many real balls each generated sample lies in, [M, K].
        clipped_balls: How many real balls each lies in or on the edge of, none wider than the median one, [M, K].
        in_real_ball: How many generated samples lie in the ball of each real one, [N, K].
        generated_balls: How many generated balls each real sample lies in, [N, K].
        nearest_real: The real sample nearest to each generated one, M times 1.
        nearest_generated: The generated sample nearest to each real one, as far as the matrix product tells them apart,
            N times 1; its distance is exact.
        missed_by_real: Σ_i log min(1, ‖x_i − y‖ / s) over real samples for each generated y, float64 [M].
        missed_by_generated: Σ_j log min(1, ‖x − y_j‖ / t) over generated samples for each real x, float64 [N].
    """

    real_balls: Counts
    clipped_balls: Counts
    in_real_ball: Counts
    generated_balls: Counts
    nearest_real: Neighbors
    nearest_generated: Neighbors
    missed_by_real: Floats
    missed_by_generated: Floats


@dataclass(frozen=True)
class Reach:
    """How far samples count, in units of the common scale.

    Args:
        real: Radii of the balls of real samples, [N, K].
        generated: Of the balls of generated samples, [M, K].
        real_support: s, how far a real sample counts for `missed_by_real`.
        generated_support: t, likewise for generated ones.
    """

    real: Floats
    generated: Floats
    real_support: float
    generated_support: float


def cross(
    real: Points,
    generated: Points,
    reach: Reach,
    progress: Progress = lambda _: None,
    journal: Journal | None = None,
    stage: str = "crossing",
) -> Crossing:
    """Compare all real samples with all generated ones, once.

    Args:
        real: [N, D].
        generated: [M, D], in the same frame.
        reach: How far they count.
        progress: Called with the share that is done.
        journal: Keeps where it stands, and may know where it stood.
        stage: What it is called there.
    """
    counting = _Counting(real, generated, reach)
    pairs = [(part, columns) for part in slices(len(real), _ROWS) for columns in slices(len(generated), _COLUMNS)]
    for part, columns in through(pairs, counting, journal, stage, progress):
        counting.take(part, columns)
    return counting.settled()


class _Counting:
    """What is known of two sets so far, as blocks of pairs are looked at."""

    def __init__(self, real: Points, generated: Points, reach: Reach) -> None:
        self._real, self._generated, self._reach = real, generated, reach
        self._clipped = clipped_radii(reach.real)
        self._radii = np.hstack([reach.real, self._clipped])
        of_generated, of_real = ((len(points), reach.real.shape[1]) for points in (generated, real))
        self._search = Search(generated, real, 1)
        self._nearest = np.full(len(real), np.inf), np.zeros(len(real), np.int64)
        self._counts: State = {
            "real_balls": np.zeros(of_generated, np.int64),
            "clipped_balls": np.zeros(of_generated, np.int64),
            "in_real_ball": np.zeros(of_real, np.int64),
            "generated_balls": np.zeros(of_real, np.int64),
            "missed_by_real": np.zeros(len(generated)),
            "missed_by_generated": np.zeros(len(real)),
        }

    def take(self, part: slice, columns: slice) -> None:
        """Look at a block: some real samples and some generated ones."""
        counts, reach = self._counts, self._reach
        block = _Block(self._real, part, self._generated, columns)
        self._search.take(columns, block.squares, part, transposed=True)
        self._take_nearest(part, columns, block)
        rows, others, distances = block.pairs(self._radii[part], by_row=True)
        inside = distances[:, None] < reach.real[part][rows]
        _add(counts["real_balls"][columns], others, inside)
        _add(counts["in_real_ball"][part], rows, inside)
        _add(counts["clipped_balls"][columns], others, distances[:, None] <= self._clipped[part][rows])
        rows, others, distances = block.pairs(reach.generated[columns], by_row=False)
        _add(counts["generated_balls"][part], rows, distances[:, None] < reach.generated[columns][others])
        by_real, by_generated = block.log_distances(reach.real_support, reach.generated_support)
        counts["missed_by_real"][columns] += by_real
        counts["missed_by_generated"][part] += by_generated

    def _take_nearest(self, part: slice, columns: slice, block: _Block) -> None:
        squares, indices = (found.numpy() for found in block.squares.min(1))
        best, where = self._nearest
        closer = squares < best[part]
        best[part][closer] = squares[closer]
        where[part][closer] = indices[closer] + columns.start

    def state(self, done: int) -> State:
        """Return what is known after so many blocks."""
        best, where = self._nearest
        found = {f"search_{name}": values for name, values in self._search.state(done).items()}
        return {**self._counts, **found, "best": best, "where": where, "done": np.array(done)}

    def restored(self, state: State | None) -> int:
        """Go on from what was known; return after how many blocks that was."""
        if state is None:
            return 0
        self._counts = {name: state[name] for name in self._counts}
        self._nearest = state["best"], state["where"]
        searched = {name.removeprefix("search_"): values for name, values in state.items() if name.startswith("search")}
        return self._search.restored(searched)

    def settled(self) -> Crossing:
        """Return all that is known, distances decided in float64."""
        where = self._nearest[1]
        distances = exact_distances(self._real, np.arange(len(where)), self._generated, where)
        found = Neighbors(distances[:, None], where[:, None])
        return Crossing(nearest_real=self._search.settled(), nearest_generated=found, **self._counts)


def clipped_radii(radii: Floats) -> Floats:
    """Return radii, [N, K], none larger than the median of its column."""
    return np.minimum(radii, np.median(radii, axis=0))


class _Block:
    """The distances of a block of pairs, as far as they are near something.

    Attributes:
        squares: Squared distances, [B, C]: exact where the error of the matrix product could change them by more than
            a fiftieth.

    Args:
        x: One set.
        rows: Which of it.
        y: The other set.
        columns: Which of that.
    """

    def __init__(self, x: Points, rows: slice, y: Points, columns: slice) -> None:
        self._x, self._rows, self._y, self._columns = x, rows, y, columns
        self.squares = squared_distances(x, rows, y, columns)
        self._bound = x.error * np.square(x.norms[rows] + y.norms[columns].max())
        close = self.squares <= torch.from_numpy(_FAR * self._bound).to(self.squares.dtype)[:, None]
        near, others = (side.numpy() for side in torch.nonzero(close, as_tuple=True))
        exact = exact_distances(x, near + rows.start, y, others + columns.start)
        self.squares[close] = torch.from_numpy(np.square(exact)).to(self.squares.dtype)

    def pairs(self, radii: Floats, *, by_row: bool) -> tuple[Integers, Integers, Floats]:
        """Return all pairs no farther apart than the largest radius of one of them: where they lie, and distances.

        Distances are exact where they are all but equal to a radius; others are as the matrix product has them.

        Args:
            radii: For each row or column of the block, [·, R].
            by_row: Whose they are.
        """
        largest = np.square(radii.max(1))
        reach = largest + self._bound if by_row else largest + self._bound.max()
        limits: Tensor = torch.from_numpy(reach * (1 + _ROUNDED)).to(self.squares.dtype)
        near = self.squares <= limits.unsqueeze(int(by_row))
        rows, columns = (side.numpy() for side in torch.nonzero(near, as_tuple=True))
        squares = self.squares.numpy()[rows, columns].astype(np.float64)
        distances = np.sqrt(np.maximum(squares, 0.0))
        gaps = np.abs(squares[:, None] - np.square(radii[rows if by_row else columns]))
        undecided = (gaps <= self._bound[rows][:, None]).any(1)
        distances[undecided] = exact_distances(
            self._x, rows[undecided] + self._rows.start, self._y, columns[undecided] + self._columns.start
        )
        return rows, columns, distances

    def log_distances(self, of_rows: float, of_columns: float) -> tuple[Floats, Floats]:
        """Return Σ log min(1, d / s) over rows, [C], and over columns, [B], float64.

        They are −∞ where a distance is 0, and 0 where s is.

        Args:
            of_rows: s of the rows.
            of_columns: s of the columns.
        """
        logs = self.squares.clamp_min(0).log_()
        return _sums(logs, of_rows, 0), _sums(logs, of_columns, 1)


def _sums(logs: Tensor, support: float, axis: int) -> Floats:
    """Return Σ min(0, log d² / s²) / 2 over an axis; 0 where s is 0."""
    if support == 0:
        return np.zeros(logs.shape[1 - axis])
    below = (logs - 2 * math.log(support)).clamp_max_(0)
    return np.asarray(below.sum(axis, dtype=torch.float64).numpy() / 2)


def _add(counts: Counts, indices: Integers, inside: NDArray[np.bool_]) -> None:
    """Count in place, for each of K kinds, how often each index occurs among the pairs inside, [P, K]."""
    for kind in range(inside.shape[1]):
        counts[:, kind] += np.bincount(indices[inside[:, kind]], minlength=len(counts))
