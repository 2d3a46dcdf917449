"""Estimated memory and time of an evaluation, before it is queued."""

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_BYTES_PER_VALUE: Final = 4
_BYTES_PER_SAMPLE: Final = 64
_BASE_BYTES: Final = 512 * 1024 * 1024
_OPERATIONS_PER_SECOND: Final = 10e9
_SECONDS_PER_SAMPLE: Final = 1e-3


@dataclass(frozen=True)
class Estimate:
    """Estimated cost of an evaluation."""

    bytes: int
    """Memory, bytes."""
    seconds: float
    """Time, seconds."""


def estimate(reference: int, generated: int, width: int) -> Estimate:
    """Return the cost of evaluating M generated samples against N real ones, with D features each.

    Memory is 4·D·(N + M) bytes for the features as float32, 64·(N + M) for the per-sample results, and 512 MiB for
    torch and for blocks of distances. Time is 2·D·(N·M + N²/2 + M²/2) operations, which are the matrix products of all
    distances, at a conservative 10 GFLOP/s, and one millisecond per sample for its features.

    Args:
        reference: N.
        generated: M.
        width: D.
    """
    samples = reference + generated
    products = reference * generated + (reference**2 + generated**2) / 2
    return Estimate(
        bytes=_BYTES_PER_VALUE * width * samples + _BYTES_PER_SAMPLE * samples + _BASE_BYTES,
        seconds=2 * width * products / _OPERATIONS_PER_SECOND + samples * _SECONDS_PER_SAMPLE,
    )


def largest_subsample(reference: int, generated: int, width: int, fits: Callable[[Estimate], bool]) -> int:
    """Return the largest number of samples per set whose estimate ``fits``; 0 if none does. See `estimate`."""
    counts = range(1, max(reference, generated) + 1)
    return bisect_right(
        counts, False, key=lambda count: not fits(estimate(min(reference, count), min(generated, count), width))
    )
