"""Which samples of one set lie in the balls of another: all that density, coverage, precision and recall are made of.

The ball of a sample has the distance to its k-th nearest other sample of its own set as its radius. Real and generated
samples are compared block by block, for all k at once; pairs that a matrix product leaves undecided are decided in
float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workers.metrics.neighbors import Progress, slices
from workers.metrics.points import Floats, Integers, Points, exact_distances, squared_distances

_ROWS, _COLUMNS = 1024, 2048
_ROUNDED = 1e-6

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Crossing:
    """How often balls of one set hold samples of the other, for each of K radii.

    Args:
        real_balls: How many real balls each generated sample lies in, [M, K].
        clipped_balls: How many real balls each lies in or on the edge of, none wider than the median one, [M, K].
        in_real_ball: How many generated samples lie in the ball of each real one, [N, K].
        generated_balls: How many generated balls each real sample lies in, [N, K].
    """

    real_balls: Counts
    clipped_balls: Counts
    in_real_ball: Counts
    generated_balls: Counts


def cross(
    real: Points, generated: Points, real_radii: Floats, generated_radii: Floats, progress: Progress = lambda _: None
) -> Crossing:
    """Count samples in balls.

    Args:
        real: [N, D].
        generated: [M, D], in the same frame.
        real_radii: [N, K], in units of the common scale.
        generated_radii: [M, K], likewise.
        progress: Called with the share that is done.
    """
    clipped = clipped_radii(real_radii)
    kinds = real_radii.shape[1]
    sizes = len(generated), len(generated), len(real), len(real)
    found = Crossing(*(np.zeros((size, kinds), np.int64) for size in sizes))
    parts = slices(len(real), _ROWS)
    for index, part in enumerate(parts):
        for columns in slices(len(generated), _COLUMNS):
            block = _Block(real, part, generated, columns)
            rows, others, distances = block.pairs(np.hstack([real_radii, clipped])[part], by_row=True)
            inside = distances[:, None] < real_radii[part][rows]
            _add(found.real_balls[columns], others, inside)
            _add(found.in_real_ball[part], rows, inside)
            _add(found.clipped_balls[columns], others, distances[:, None] <= clipped[part][rows])
            rows, others, distances = block.pairs(generated_radii[columns], by_row=False)
            _add(found.generated_balls[part], rows, distances[:, None] < generated_radii[columns][others])
        progress((index + 1) / len(parts))
    return found


def clipped_radii(radii: Floats) -> Floats:
    """Return radii, [N, K], none larger than the median of its column."""
    return np.minimum(radii, np.median(radii, axis=0))


class _Block:
    """The distances of a block of pairs, as far as they are near something.

    Args:
        x: One set.
        rows: Which of it.
        y: The other set.
        columns: Which of that.
    """

    def __init__(self, x: Points, rows: slice, y: Points, columns: slice) -> None:
        self._x, self._rows, self._y, self._columns = x, rows, y, columns
        self._squares = squared_distances(x, rows, y, columns)
        self._bound = x.error * np.square(x.norms[rows] + y.norms[columns].max())

    def pairs(self, radii: Floats, *, by_row: bool) -> tuple[Integers, Integers, Floats]:
        """Return all pairs no farther apart than the largest radius of one of them: where they lie, and distances.

        Distances are exact where they are all but equal to a radius; others are as the matrix product has them.

        Args:
            radii: For each row or column of the block, [·, R].
            by_row: Whose they are.
        """
        largest = np.square(radii.max(1))
        reach = largest + self._bound if by_row else largest + self._bound.max()
        limits: Tensor = torch.from_numpy(reach * (1 + _ROUNDED)).to(self._squares.dtype)
        near = self._squares <= limits.unsqueeze(int(by_row))
        rows, columns = (side.numpy() for side in torch.nonzero(near, as_tuple=True))
        squares = self._squares.numpy()[rows, columns].astype(np.float64)
        distances = np.sqrt(np.maximum(squares, 0.0))
        gaps = np.abs(squares[:, None] - np.square(radii[rows if by_row else columns]))
        undecided = (gaps <= self._bound[rows][:, None]).any(1)
        distances[undecided] = exact_distances(
            self._x, rows[undecided] + self._rows.start, self._y, columns[undecided] + self._columns.start
        )
        return rows, columns, distances


def _add(counts: Counts, indices: Integers, inside: NDArray[np.bool_]) -> None:
    """Count in place, for each of K kinds, how often each index occurs among the pairs inside, [P, K]."""
    for kind in range(inside.shape[1]):
        counts[:, kind] += np.bincount(indices[inside[:, kind]], minlength=len(counts))
