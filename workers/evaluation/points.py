"""Distances between samples in the feature space: fast ones with an error bound, and exact ones.

Squared distances by matrix product, ‖x‖² + ‖y‖² − 2 x·y, lose digits where they are small against the norms. So rows
are centred and scaled first, the remaining error is bounded, and whatever the bound leaves undecided is computed again
from differences in float64.

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
_BLOCKS_IN_FLIGHT = 4
_STATISTICS_BYTES = 2**23
_EXTRA_ROUNDINGS = 8.0
_MAX_SCALE_EXPONENT = 400
"""Differences up to 2 to this power can be squared in float64."""

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Rows = NDArray[Any]


class Points:
    """A set of samples, centred and scaled for matrix products.

    Attributes:
        scaled: The rows, centred and scaled, [N, D], in the dtype and on the device of products.
        norms: Their Euclidean norms, float64 [N].
        error: e in the bound e · (‖x‖ + ‖y‖)² on the error of a squared distance by matrix product.

    Args:
        rows: Features, [N, D], any float dtype; may be memory-mapped.
        center: Subtracted from the rows, float64 [D].
        scale: Rows are divided by it; a power of two, so that the division is exact.
        dtype: float32 or float64, of matrix products.
        device: Of matrix products; the CPU if not given.
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
        self.scaled = torch.empty(count, width, dtype=dtype, device=device)
        self.norms = np.empty(count, np.float64)
        for part in row_blocks_by_bytes(count, width, _STATISTICS_BYTES):
            exact = np.subtract(rows[part], center, dtype=np.float64)
            exact /= scale
            scaled = torch.from_numpy(exact).to(dtype)
            self.scaled[part] = scaled.to(self.scaled.device)
            self.norms[part] = torch.linalg.vector_norm(scaled, dim=1, dtype=torch.float64).numpy()
            release_pages(rows)
        self.error = (width / 2 + _EXTRA_ROUNDINGS) * torch.finfo(dtype).eps / 2

    def __len__(self) -> int:
        return len(self.scaled)


def center_and_scale(sets: Sequence[Rows]) -> tuple[Floats, float]:
    """Return the mean of the first set, float64 [D], and a power of two that no centred value of any set exceeds.

    Args:
        sets: Features, [N, D] each.
    """
    width = sets[0].shape[1]
    center = np.zeros(width)
    for part in row_blocks_by_bytes(len(sets[0]), width, _STATISTICS_BYTES):
        center += np.sum(sets[0][part], axis=0, dtype=np.float64) / len(sets[0])
        release_pages(sets[0])
    ends = (end for rows in sets for end in column_range(rows))
    largest = max(float(np.abs(end - center).max()) for end in ends)
    return center, 1.0 if largest == 0 else 2.0 ** math.ceil(math.log2(largest))


def column_range(rows: Rows) -> tuple[Floats, Floats]:
    """Return the smallest and the largest value of each column, float64 [D] both.

    Args:
        rows: [N, D].
    """
    low, high = np.full(rows.shape[1], np.inf), np.full(rows.shape[1], -np.inf)
    for part in row_blocks_by_bytes(len(rows), rows.shape[1], _STATISTICS_BYTES):
        block = rows[part]
        low, high = np.minimum(low, block.min(0)), np.maximum(high, block.max(0))
        release_pages(rows)
    return low, high


def release_pages(rows: Rows) -> None:
    """Free the resident pages of memory-mapped rows, which may be read again."""
    if isinstance(rows.base, mmap.mmap):
        rows.base.madvise(mmap.MADV_DONTNEED)


def row_blocks_by_bytes(count: int, width: int, max_bytes: int) -> list[slice]:
    """Return slices of ``count`` float64 rows of ``width`` values, at most ``max_bytes`` and at least one row each."""
    step = max(1, max_bytes // (8 * max(1, width)))
    return row_blocks(count, step)


def row_blocks(count: int, step: int) -> list[slice]:
    """Return slices of ``count`` rows, ``step`` of them at a time."""
    return [slice(first, min(first + step, count)) for first in range(0, count, step)]


def squared_distances(x: Points, rows: slice, y: Points, columns: slice) -> Tensor:
    """Return ‖x − y‖² of all pairs of two blocks by matrix product, [B, C], in the dtype of ``scaled``, on the CPU.

    The error is at most e · (‖x‖ + ‖y‖)², so values may be slightly negative.
    """
    left, right = x.scaled[rows], y.scaled[columns]
    norms = [
        torch.from_numpy(np.square(side)).to(left.device, left.dtype) for side in (x.norms[rows], y.norms[columns])
    ]
    return torch.addmm(norms[0][:, None] + norms[1], left, right.T, alpha=-2).cpu()


def exact_distances(x: Points, rows: Integers, y: Points, columns: Integers) -> Floats:
    """Return the distances of pairs from differences, float64 [P], divided by the common scale.

    Equal differences give equal distances.

    Args:
        x: One set.
        rows: Rows of x, [P].
        y: The other set, with the same center and scale.
        columns: Rows of y, [P].
    """
    distances = np.empty(len(rows))
    squarable = abs(math.log2(x.scale)) < _MAX_SCALE_EXPONENT

    def fill(part: slice) -> None:
        differences = np.subtract(x.rows[rows[part]], y.rows[columns[part]], dtype=np.float64)
        if not squarable:
            differences /= x.scale
        distances[part] = np.sqrt(np.einsum("ij,ij->i", differences, differences))

    parts = row_blocks_by_bytes(len(rows), x.scaled.shape[1], _PAIR_BYTES)
    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        for first in range(0, len(parts), _BLOCKS_IN_FLIGHT):
            in_flight = parts[first : first + _BLOCKS_IN_FLIGHT]
            list(threads.map(fill, in_flight) if len(in_flight) > 1 else map(fill, in_flight))
            release_pages(x.rows)
            release_pages(y.rows)
    return distances / x.scale if squarable else distances
