"""Time per call of several models, measured in turns so that other load on the host affects all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence

from faceter.engines.base import Array, LoadedModel

_SECONDS = 0.5
_MIN_RUNS = 5
_MAX_RUNS = 200
_WARM_UP = 2
_LONG_CALL_SECONDS = 0.5
"""A call longer than this needs no warm-up, and fewer repetitions."""
_CALLS_PER_TURN = 3


def interleaved(
    models: Sequence[LoadedModel], batch: Mapping[str, Array], *, seconds: float = _SECONDS
) -> tuple[list[float], int]:
    """Return the median milliseconds of one call of each model, and how many calls of each were measured.

    Each turn is one call to warm the caches and three measured calls, since a server makes many calls of one model.

    Args:
        seconds: About how long to measure; at least 5 calls of each, at most 200. Models that take half a second or
            more a call are called once before and once measured.
    """
    longest = max(_seconds(model, batch) for model in models)
    if longest > _LONG_CALL_SECONDS:
        return [1e3 * _seconds(model, batch) for model in models], 1
    for _ in range(_WARM_UP - 1):
        for model in models:
            model.run(batch)
    times: list[list[float]] = [[] for _ in models]
    started = time.perf_counter()
    while len(times[0]) < _MAX_RUNS:
        for model, taken in zip(models, times, strict=True):
            model.run(batch)
            taken.extend(_seconds(model, batch) for _ in range(_CALLS_PER_TURN))
        if len(times[0]) >= _MIN_RUNS and time.perf_counter() - started > seconds:
            break
    return [1e3 * statistics.median(taken) for taken in times], len(times[0])


def _seconds(model: LoadedModel, batch: Mapping[str, Array]) -> float:
    start = time.perf_counter()
    model.run(batch)
    return time.perf_counter() - start
