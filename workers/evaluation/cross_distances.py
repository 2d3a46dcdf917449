"""Blockwise distances between real and generated samples, reduced to counts of samples in k-nearest-neighbour balls.

The radius of a sample's ball is the distance to its k-th nearest neighbour in its own set. All k are counted at once;
pairs that a matrix product leaves undecided are computed again in float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from faceter.datasets.samples import ProgressFunction
from workers.evaluation.neighbors import Neighbors, NeighborSearch
from workers.evaluation.points import Floats, Integers, Points, exact_distances, row_blocks, squared_distances
from workers.jobs.division import Arrays
from workers.jobs.journal import Journal, State, resumable

_ROWS, _COLUMNS = 1024, 2048
_ROUNDING = 1e-6
_EXACT_BELOW_BOUNDS = 50.0
"""Squared distances below so many error bounds are computed exactly."""

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class CrossDistances:
    """Counts, nearest neighbours and log probabilities from the distances between two sets, for K radii of balls.

    Args:
        real_balls_per_generated: Number of real balls that each generated sample lies in, [M, K].
        clipped_balls_per_generated: The same with radii clipped at their median, and closed balls, [M, K].
        generated_per_real_ball: Number of generated samples in the ball of each real one, [N, K].
        generated_balls_per_real: Number of generated balls that each real sample lies in, [N, K].
        nearest_real: The real sample nearest to each generated one, M times 1.
        nearest_generated: The generated sample nearest to each real one, N times 1; chosen by matrix products, its
            distance is exact.
        log_outside_real: Σ_i log min(1, ‖x_i − y‖ / s) over real samples for each generated y, float64 [M].
        log_outside_generated: Σ_j log min(1, ‖x − y_j‖ / t) over generated samples for each real x, float64 [N].
    """

    real_balls_per_generated: Counts
    clipped_balls_per_generated: Counts
    generated_per_real_ball: Counts
    generated_balls_per_real: Counts
    nearest_real: Neighbors
    nearest_generated: Neighbors
    log_outside_real: Floats
    log_outside_generated: Floats


@dataclass(frozen=True)
class Radii:
    """Radii of balls, divided by the common scale.

    Args:
        real: Of the balls of real samples, [N, K].
        generated: Of the balls of generated samples, [M, K].
        real_support: s, the radius of every real sample in `log_outside_real`.
        generated_support: t, the radius of every generated sample in `log_outside_generated`.
    """

    real: Floats
    generated: Floats
    real_support: float
    generated_support: float


def cross_distances(
    real: Points,
    generated: Points,
    radii: Radii,
    progress: ProgressFunction = lambda _: None,
    journal: Journal | None = None,
    stage: str = "cross_distances",
) -> CrossDistances:
    """Compare all real samples with all generated ones.

    Args:
        real: [N, D].
        generated: [M, D], with the same center and scale.
        radii: Of their balls.
        progress: Called with the fraction done.
        journal: Stores the counts so far, to resume from.
        stage: Name of the state in the journal.
    """
    reduction = BlockwiseReduction(real, generated, radii)
    blocks = [(part, columns) for part in real_strips(real) for columns in _blocks_of_strip(generated)]
    for part, columns in resumable(blocks, reduction, journal, stage, progress):
        reduction.add_block(part, columns)
    return reduction.result()


def real_strips(real: Points) -> list[slice]:
    """Return the blocks of real samples, each of which is compared with all generated ones before the next."""
    return row_blocks(len(real), _ROWS)


def _blocks_of_strip(generated: Points) -> list[slice]:
    return row_blocks(len(generated), _COLUMNS)


def cross_distances_of_strips(
    real: Points, generated: Points, radii: Radii, strips: Sequence[slice], progress: ProgressFunction = lambda _: None
) -> State:
    """Compare some strips of real samples with all generated ones, and return what `BlockwiseReduction.merge` takes.

    Args:
        real: All real samples.
        generated: All generated samples, with the same center and scale.
        radii: Of their balls.
        strips: Some of `real_strips`.
        progress: Called with the fraction done.
    """
    reduction = BlockwiseReduction(real, generated, radii)
    sums = np.empty((len(strips), len(generated)))
    for number, strip in enumerate(strips):
        for columns in _blocks_of_strip(generated):
            reduction.add_block(strip, columns)
        sums[number] = reduction.take_log_sums()
        progress((number + 1) / len(strips))
    return {**reduction.state(0), "log_outside_real_by_strip": sums}


class BlockwiseReduction:
    """Accumulates what `CrossDistances` has, block by block.

    Sums in floating point depend on their order, which is that of the strips: a part keeps the sums of each of its
    strips, and `merge` adds them one by one.

    Args:
        real: [N, D].
        generated: [M, D], with the same center and scale.
        radii: Of their balls.
    """

    def __init__(self, real: Points, generated: Points, radii: Radii) -> None:
        self._real, self._generated, self._radii = real, generated, radii
        self._clipped = clipped_radii(radii.real)
        self._all_real_radii = np.hstack([radii.real, self._clipped])
        of_generated, of_real = ((len(points), radii.real.shape[1]) for points in (generated, real))
        self._search = NeighborSearch(generated, real, 1)
        self._nearest = np.full(len(real), np.inf), np.zeros(len(real), np.int64)
        self._counts: State = {
            "real_balls_per_generated": np.zeros(of_generated, np.int64),
            "clipped_balls_per_generated": np.zeros(of_generated, np.int64),
            "generated_per_real_ball": np.zeros(of_real, np.int64),
            "generated_balls_per_real": np.zeros(of_real, np.int64),
            "log_outside_real": np.zeros(len(generated)),
            "log_outside_generated": np.zeros(len(real)),
        }

    def add_block(self, part: slice, columns: slice) -> None:
        """Add the distances between some real samples and some generated ones."""
        counts, radii = self._counts, self._radii
        block = _DistanceBlock(self._real, part, self._generated, columns)
        self._search.add_block(columns, block.squares, part, transposed=True)
        self._update_nearest(part, columns, block)
        rows, others, distances = block.pairs(self._all_real_radii[part], by_row=True)
        inside = distances[:, None] < radii.real[part][rows]
        _add_counts(counts["real_balls_per_generated"][columns], others, inside)
        _add_counts(counts["generated_per_real_ball"][part], rows, inside)
        inside_clipped = distances[:, None] <= self._clipped[part][rows]
        _add_counts(counts["clipped_balls_per_generated"][columns], others, inside_clipped)
        rows, others, distances = block.pairs(radii.generated[columns], by_row=False)
        inside = distances[:, None] < radii.generated[columns][others]
        _add_counts(counts["generated_balls_per_real"][part], rows, inside)
        outside_real, outside_generated = block.log_distances(radii.real_support, radii.generated_support)
        counts["log_outside_real"][columns] += outside_real
        counts["log_outside_generated"][part] += outside_generated

    def _update_nearest(self, part: slice, columns: slice, block: _DistanceBlock) -> None:
        squares, indices = (values.numpy() for values in block.squares.min(1))
        best, nearest = self._nearest
        closer = squares < best[part]
        best[part][closer] = squares[closer]
        nearest[part][closer] = indices[closer] + columns.start

    def take_log_sums(self) -> Floats:
        """Return the log sums of generated samples, [M], and set them to 0."""
        sums = self._counts["log_outside_real"]
        self._counts["log_outside_real"] = np.zeros(len(sums))
        return np.asarray(sums)

    def merge(self, state: Arrays) -> None:
        """Add a part of `cross_distances_of_strips`; parts are added in the order of their strips."""
        sums = state["log_outside_real_by_strip"]
        for name in self._counts:
            for values in sums if name == "log_outside_real" else [state[name]]:
                self._counts[name] += values
        best, nearest = self._nearest
        closer = state["best"] < best
        best[closer], nearest[closer] = state["best"][closer], state["nearest"][closer]
        self._search.merge(_of_search(state))

    def state(self, done: int) -> State:
        """Return everything accumulated after so many blocks."""
        best, nearest = self._nearest
        search = {f"search_{name}": values for name, values in self._search.state(done).items()}
        return {**self._counts, **search, "best": best, "nearest": nearest, "done": np.array(done)}

    def restore(self, state: State | None) -> int:
        """Resume from a state; return the number of blocks done."""
        if state is None:
            return 0
        self._counts = {name: state[name] for name in self._counts}
        self._nearest = state["best"], state["nearest"]
        return self._search.restore(_of_search(state))

    def result(self) -> CrossDistances:
        """Return everything accumulated, with exact distances to nearest neighbours."""
        nearest = self._nearest[1]
        distances = exact_distances(self._real, np.arange(len(nearest)), self._generated, nearest)
        generated = Neighbors(distances[:, None], nearest[:, None])
        return CrossDistances(nearest_real=self._search.result(), nearest_generated=generated, **self._counts)


def _of_search(state: Arrays) -> State:
    return {name.removeprefix("search_"): values for name, values in state.items() if name.startswith("search_")}


def clipped_radii(radii: Floats) -> Floats:
    """Return radii clipped at the median of their column, [N, K]."""
    return np.minimum(radii, np.median(radii, axis=0))


class _DistanceBlock:
    """The distances of a block of pairs.

    Attributes:
        squares: Squared distances, [B, C]: exact where the error of the matrix product could exceed a fiftieth of them.

    Args:
        x: One set.
        rows: Rows of x.
        y: The other set.
        columns: Rows of y.
    """

    def __init__(self, x: Points, rows: slice, y: Points, columns: slice) -> None:
        self._x, self._rows, self._y, self._columns = x, rows, y, columns
        self.squares = squared_distances(x, rows, y, columns)
        self._bound = x.error * np.square(x.norms[rows] + y.norms[columns].max())
        close = self.squares <= torch.from_numpy(_EXACT_BELOW_BOUNDS * self._bound).to(self.squares.dtype)[:, None]
        near, others = (side.numpy() for side in torch.nonzero(close, as_tuple=True))
        exact = exact_distances(x, near + rows.start, y, others + columns.start)
        self.squares[close] = torch.from_numpy(np.square(exact)).to(self.squares.dtype)

    def pairs(self, radii: Floats, *, by_row: bool) -> tuple[Integers, Integers, Floats]:
        """Return rows, columns and distances of the pairs within the largest radius of their row or column.

        Distances that the matrix product cannot compare with a radius are exact.

        Args:
            radii: For each row or column of the block, [·, R].
            by_row: Whether radii are of rows.
        """
        largest = np.square(radii.max(1))
        bounds = largest + self._bound if by_row else largest + self._bound.max()
        limits: Tensor = torch.from_numpy(bounds * (1 + _ROUNDING)).to(self.squares.dtype)
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

    def log_distances(self, row_support: float, column_support: float) -> tuple[Floats, Floats]:
        """Return Σ log min(1, d / s) over rows, [C], and over columns, [B], float64.

        A sum is −∞ if a distance is 0, and 0 if s is.

        Args:
            row_support: s of the rows.
            column_support: s of the columns.
        """
        logs = self.squares.clamp_min(0).log_()
        return _clipped_log_sums(logs, row_support, 0), _clipped_log_sums(logs, column_support, 1)


def _clipped_log_sums(logs: Tensor, support: float, axis: int) -> Floats:
    """Return Σ min(0, log d² / s²) / 2 over an axis; 0 where s is 0."""
    if support == 0:
        return np.zeros(logs.shape[1 - axis])
    below = (logs - 2 * math.log(support)).clamp_max_(0)
    return np.asarray(below.sum(axis, dtype=torch.float64).numpy() / 2)


def _add_counts(counts: Counts, indices: Integers, inside: NDArray[np.bool_]) -> None:
    """Add in place, for each of K radii, how often each index occurs among the pairs inside, [P, K]."""
    for radius in range(inside.shape[1]):
        counts[:, radius] += np.bincount(indices[inside[:, radius]], minlength=len(counts))
