"""Intervals without looking at distances again: the samples that a metric is a mean of are drawn anew.

Balls are held as they are. Drawing their centres anew would put samples on top of each other, and a sample whose
nearest neighbour is itself has a ball of no size: the bootstrap is not consistent for nearest neighbours.

References:
    Efron, "Bootstrap Methods: Another Look at the Jackknife", Annals of Statistics 1979.
    Abadie, Imbens, "On the Failure of the Bootstrap for Matching Estimators", Econometrica 2008.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from workers.evaluation.authenticity import authentic
from workers.evaluation.clipped import balls_of_others, calibrated, expected_covered
from workers.evaluation.comparison import Comparison
from workers.evaluation.frechet import Moments, frechet_distance, weighted_moments
from workers.evaluation.points import Floats, Rows

LEVEL = 0.95
"""Share of the values that an interval holds."""

_MOST_PRODUCTS = 2e12


def bootstrap(
    comparison: Comparison,
    index: int,
    replicates: int,
    rng: np.random.Generator,
    progress: Callable[[float], None] = lambda _: None,
) -> dict[str, Floats]:
    """Return the values of every metric by distances over samples drawn anew, float64 [B] each.

    Args:
        comparison: Of the two sets.
        index: Which of its k.
        replicates: B.
        rng: Draws.
        progress: Called with the share that is done.
    """
    k, crossing = comparison.ks[index], comparison.crossing
    of_generated = {
        "density": crossing.real_balls[:, index] / k,
        "precision": crossing.real_balls[:, index] > 0,
        "p_precision": 1 - np.exp(crossing.missed_by_real),
        "authenticity": authentic(crossing.nearest_real, comparison.real),
        "clipped": np.minimum(crossing.clipped_balls[:, index], k) / k,
    }
    of_real = {
        "coverage": crossing.in_real_ball[:, index] > 0,
        "recall": crossing.generated_balls[:, index] > 0,
        "p_recall": 1 - np.exp(crossing.missed_by_generated),
        "clipped": np.minimum(balls_of_others(comparison.real, k), k) / k,
        "covered": np.minimum(crossing.in_real_ball[:, index], k) / k,
    }
    generated = _means(of_generated, replicates, rng, lambda done: progress(done / 2))
    real = _means(of_real, replicates, rng, lambda done: progress((1 + done) / 2))
    norms = real.pop("clipped")
    clipped = generated.pop("clipped")
    expected = expected_covered(len(comparison.real.distances), len(comparison.generated.distances), k)
    return {
        **generated,
        **{name: values for name, values in real.items() if name != "covered"},
        "clipped_density": np.minimum(1.0, np.divide(clipped, norms, out=np.zeros_like(clipped), where=norms > 0)),
        "clipped_coverage": calibrated(real["covered"], expected),
    }


def bootstrap_frechet(
    real: Rows, generated: Rows, replicates: int, rng: np.random.Generator, value: float
) -> Floats | None:
    """Return Fréchet distances over samples drawn anew, float64 [B]; None where that would take too long.

    Fewer different samples make the distance larger, and among those drawn anew a third are missing. So all values are
    moved by as much as their mean lies above the distance of the samples themselves.

    Args:
        real: [N, D].
        generated: [M, D].
        replicates: B.
        rng: Draws.
        value: The distance of the samples themselves.
    """
    width = real.shape[1]
    products = replicates * (len(real) + len(generated) + 20 * width) * width**2
    if products > _MOST_PRODUCTS:
        return None
    found = np.empty(replicates)
    for index in range(replicates):
        found[index] = frechet_distance(_redrawn(real, rng), _redrawn(generated, rng))
    return np.asarray(found - found.mean() + value)


def interval(values: Floats) -> list[float]:
    """Return the ends of the middle 95 % of some values."""
    rest = 100 * (1 - LEVEL) / 2
    return [float(end) for end in np.percentile(values, [rest, 100 - rest])]


def _redrawn(rows: Rows, rng: np.random.Generator) -> Moments:
    return weighted_moments(rows, _times_drawn(len(rows), rng))


def _times_drawn(count: int, rng: np.random.Generator) -> Floats:
    """Return how often each of so many samples is among as many drawn with repetition, float64 [N]."""
    return np.bincount(rng.integers(0, count, count), minlength=count).astype(np.float64)


def _means(
    columns: dict[str, Floats], replicates: int, rng: np.random.Generator, progress: Callable[[float], None]
) -> dict[str, Floats]:
    """Return the mean of each column over samples drawn anew, [B] each."""
    values = np.stack([np.asarray(column, np.float64) for column in columns.values()], axis=1)
    found = np.empty((replicates, len(columns)))
    for index in range(replicates):
        found[index] = _times_drawn(len(values), rng) @ values / len(values)
        progress((index + 1) / replicates)
    return dict(zip(columns, found.T, strict=True))
