"""Samples as rows of features, and distances between them: fast ones with a bound on their error, and exact ones.

Squared distances by matrix product, ‖x‖² + ‖y‖² − 2 x·y, lose digits where they are small against the norms. So rows
are moved to their common mean and scaled before, the error that is left is bounded, and whatever the bound does not
decide is computed again from differences in float64.

References:
    Higham, "Accuracy and Stability of Numerical Algorithms", 2nd edition, 2002, section 3.1 (error of inner products).
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_PAIR_BYTES = 2**20
_PARTS_HELD = 4
_STATISTICS_BYTES = 2**23
_EXTRA = 8.0
_SQUARABLE = 400

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Rows = NDArray[Any]


class Points:
    """The rows of a set of samples.

    Attributes:
        near: The rows, moved and scaled, [N, D] in the dtype that products are computed in, and where they are.
        norms: Their Euclidean norms, float64 [N].
        error: e in the bound e · (‖x‖ + ‖y‖)² on the error of a squared distance by matrix product.

    Args:
        rows: Features, [N, D], any float dtype; may lie in a file.
        center: What is subtracted, float64 [D].
        scale: What is divided by; a power of two, so that nothing is rounded by it.
        dtype: float32 or float64, for products.
        device: Where products are computed, in full precision; the processor if not given.
    """

    def __init__(
        self,
        rows: Rows,
        center: Floats,
        scale: float,
        dtype: torch.dtype = torch.float32,
        device: torch.device | None = None,
    ) -> None:
        self.rows = rows
        self.center = center
        self.scale = scale
        count, width = rows.shape
        self.near = torch.empty(count, width, dtype=dtype, device=device)
        self.norms = np.empty(count, np.float64)
        for part in blocks(count, width, _STATISTICS_BYTES):
            exact = np.subtract(rows[part], center, dtype=np.float64)
            exact /= scale
            moved = torch.from_numpy(exact).to(dtype)
            self.near[part] = moved.to(self.near.device)
            self.norms[part] = torch.linalg.vector_norm(moved, dim=1, dtype=torch.float64).numpy()
            let_go(rows)
        self.error = (width / 2 + _EXTRA) * torch.finfo(dtype).eps / 2

    def __len__(self) -> int:
        return len(self.near)


def common_frame(sets: Sequence[Rows]) -> tuple[Floats, float]:
    """Return the mean of the first set, float64 [D], and a power of two that no centred value of any set exceeds.

    Args:
        sets: Features, [N, D] each.
    """
    width = sets[0].shape[1]
    center = np.zeros(width)
    for part in blocks(len(sets[0]), width, _STATISTICS_BYTES):
        center += np.sum(sets[0][part], axis=0, dtype=np.float64) / len(sets[0])
        let_go(sets[0])
    ends = (end for rows in sets for end in column_range(rows))
    largest = max(float(np.abs(end - center).max()) for end in ends)
    return center, 1.0 if largest == 0 else 2.0 ** math.ceil(math.log2(largest))


def column_range(rows: Rows) -> tuple[Floats, Floats]:
    """Return the smallest and the largest value of each column, float64 [D] both.

    Args:
        rows: [N, D].
    """
    low, high = np.full(rows.shape[1], np.inf), np.full(rows.shape[1], -np.inf)
    for part in blocks(len(rows), rows.shape[1], _STATISTICS_BYTES):
        block = rows[part]
        low, high = np.minimum(low, block.min(0)), np.maximum(high, block.max(0))
        let_go(rows)
    return low, high


def let_go(rows: Rows) -> None:
    """Give the memory back that rows of a file take since they were looked at; they may be looked at again."""
    if isinstance(rows.base, mmap.mmap):
        rows.base.madvise(mmap.MADV_DONTNEED)


def blocks(count: int, width: int, most_bytes: int) -> list[slice]:
    """Return slices of ``count`` float64 rows of ``width`` that hold at most so many bytes each, one row at least."""
    step = max(1, most_bytes // (8 * max(1, width)))
    return [slice(first, min(first + step, count)) for first in range(0, count, step)]


def squared_distances(x: Points, rows: slice, y: Points, columns: slice) -> Tensor:
    """Return ‖x − y‖² of all pairs of two blocks by matrix product, [B, C], in the dtype of ``near``, in memory.

    Off by no more than e · (‖x‖ + ‖y‖)², and so also a little below zero.
    """
    left, right = x.near[rows], y.near[columns]
    norms = [
        torch.from_numpy(np.square(side)).to(left.device, left.dtype) for side in (x.norms[rows], y.norms[columns])
    ]
    return torch.addmm(norms[0][:, None] + norms[1], left, right.T, alpha=-2).cpu()


def exact_distances(x: Points, rows: Integers, y: Points, columns: Integers) -> Floats:
    """Return the distances of pairs, float64 [P], from differences, in units of the common scale.

    Equal values give equal distances, whatever pair they belong to.

    Args:
        x: One set.
        rows: Which of it, [P].
        y: The other set, in the same frame.
        columns: Which of that, [P].
    """
    found = np.empty(len(rows))
    squarable = abs(math.log2(x.scale)) < _SQUARABLE

    def fill(part: slice) -> None:
        differences = np.subtract(x.rows[rows[part]], y.rows[columns[part]], dtype=np.float64)
        if not squarable:
            differences /= x.scale
        found[part] = np.sqrt(np.einsum("ij,ij->i", differences, differences))

    parts = blocks(len(rows), x.near.shape[1], _PAIR_BYTES)
    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        for first in range(0, len(parts), _PARTS_HELD):
            held = parts[first : first + _PARTS_HELD]
            list(threads.map(fill, held) if len(held) > 1 else map(fill, held))
            let_go(x.rows)
            let_go(y.rows)
    return found / x.scale if squarable else found
