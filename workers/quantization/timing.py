"""Time of one call of several models, measured in turns so that what slows the host down slows all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

from faceter.engines.base import LoadedModel
from workers.model_input import Batch

_SECONDS = 1.5
_FEWEST_RUNS = 5
_MOST_RUNS = 200
_WARM_UP = 2
_IN_A_ROW = 3


def interleaved(models: Sequence[LoadedModel], batch: Batch, *, seconds: float = _SECONDS) -> tuple[list[float], int]:
    """Return the median milliseconds of one call of each model, and how many calls of each were measured.

    Each turn is one call that does not count, since another model's weights are in the caches before it, and three
    that do: a server answers many calls with one model.

    Args:
        models: Models that take the same inputs.
        batch: The inputs.
        seconds: About how long to measure; at least 5 calls of each, at most 200.
    """
    for _ in range(_WARM_UP):
        for model in models:
            model.run(batch)
    times: list[list[float]] = [[] for _ in models]
    started = time.perf_counter()
    while len(times[0]) < _MOST_RUNS:
        for model, taken in zip(models, times, strict=True):
            model.run(batch)
            for _ in range(_IN_A_ROW):
                begun = time.perf_counter()
                model.run(batch)
                taken.append(time.perf_counter() - begun)
        if len(times[0]) >= _FEWEST_RUNS and time.perf_counter() - started > seconds:
            break
    return [1e3 * statistics.median(taken) for taken in times], len(times[0])
