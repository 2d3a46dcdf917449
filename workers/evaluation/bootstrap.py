"""Bootstrap confidence intervals: the samples that a metric is a mean over are resampled.

Radii are kept fixed (not recomputed in each bootstrap replicate), so no distance is computed again. Resampling the
centres of balls would duplicate samples, and a sample with a duplicate has a ball of radius 0: the bootstrap is not
consistent for nearest neighbours.

References:
    Efron, "Bootstrap Methods: Another Look at the Jackknife", Annals of Statistics 1979.
    Abadie, Imbens, "On the Failure of the Bootstrap for Matching Estimators", Econometrica 2008.
"""

from __future__ import annotations

import numpy as np

from faceter.datasets.samples import ProgressFunction
from workers.evaluation.authenticity import authentic
from workers.evaluation.clipped import calibrate, clipped_balls_within, expected_clipped_coverage
from workers.evaluation.comparison import SetComparison
from workers.evaluation.frechet import GaussianMoments, frechet_distance, weighted_moments
from workers.evaluation.points import Floats, Rows

LEVEL = 0.95
"""Confidence level of the intervals."""

_MAX_PRODUCTS = 2e12


def bootstrap(
    comparison: SetComparison,
    index: int,
    replicates: int,
    rng: np.random.Generator,
    progress: ProgressFunction = lambda _: None,
) -> dict[str, Floats]:
    """Return bootstrap replicates of every metric of nearest neighbours, float64 [B] each.

    Args:
        comparison: Of the two sets.
        index: Position of k in ``comparison.ks``.
        replicates: B.
        rng: Draws the resamples.
        progress: Called with the fraction done.
    """
    k, cross = comparison.ks[index], comparison.cross
    generated_terms = {
        "density": cross.real_balls_per_generated[:, index] / k,
        "precision": cross.real_balls_per_generated[:, index] > 0,
        "p_precision": 1 - np.exp(cross.log_outside_real),
        "authenticity": authentic(cross.nearest_real, comparison.real),
        "clipped": np.minimum(cross.clipped_balls_per_generated[:, index], k) / k,
    }
    real_terms = {
        "coverage": cross.generated_per_real_ball[:, index] > 0,
        "recall": cross.generated_balls_per_real[:, index] > 0,
        "p_recall": 1 - np.exp(cross.log_outside_generated),
        "clipped": np.minimum(clipped_balls_within(comparison.real, k), k) / k,
        "covered": np.minimum(cross.generated_per_real_ball[:, index], k) / k,
    }
    generated = _bootstrap_means(generated_terms, replicates, rng, lambda done: progress(done / 2))
    real = _bootstrap_means(real_terms, replicates, rng, lambda done: progress((1 + done) / 2))
    norms = real.pop("clipped")
    clipped = generated.pop("clipped")
    expected = expected_clipped_coverage(len(comparison.real.distances), len(comparison.generated.distances), k)
    return {
        **generated,
        **{name: values for name, values in real.items() if name != "covered"},
        "clipped_density": np.minimum(1.0, np.divide(clipped, norms, out=np.zeros_like(clipped), where=norms > 0)),
        "clipped_coverage": calibrate(real["covered"], expected),
    }


def bootstrap_frechet(
    real: Rows, generated: Rows, replicates: int, rng: np.random.Generator, value: float
) -> Floats | None:
    """Return bootstrap replicates of the Fréchet distance, float64 [B]; None if they would take too long.

    A resample has about a third fewer distinct samples, which biases the distance upwards. So the replicates are
    shifted to have the distance of the samples themselves as their mean.

    Args:
        real: [N, D].
        generated: [M, D].
        replicates: B.
        rng: Draws the resamples.
        value: The distance of the samples themselves.
    """
    width = real.shape[1]
    products = replicates * (len(real) + len(generated) + 20 * width) * width**2
    if products > _MAX_PRODUCTS:
        return None
    distances = np.empty(replicates)
    for index in range(replicates):
        distances[index] = frechet_distance(_resampled_moments(real, rng), _resampled_moments(generated, rng))
    return np.asarray(distances - distances.mean() + value)


def confidence_interval(replicates: Floats) -> list[float]:
    """Return the 2.5th and the 97.5th percentile of bootstrap replicates."""
    tail = 100 * (1 - LEVEL) / 2
    return [float(end) for end in np.percentile(replicates, [tail, 100 - tail])]


def _resampled_moments(rows: Rows, rng: np.random.Generator) -> GaussianMoments:
    return weighted_moments(rows, _resample_counts(len(rows), rng))


def _resample_counts(count: int, rng: np.random.Generator) -> Floats:
    """Return how often each of N samples is drawn in N draws with replacement, float64 [N]."""
    return np.bincount(rng.integers(0, count, count), minlength=count).astype(np.float64)


def _bootstrap_means(
    columns: dict[str, Floats], replicates: int, rng: np.random.Generator, progress: ProgressFunction
) -> dict[str, Floats]:
    """Return the mean of each column over resamples, [B] each."""
    values = np.stack([np.asarray(column, np.float64) for column in columns.values()], axis=1)
    means = np.empty((replicates, len(columns)))
    for index in range(replicates):
        means[index] = _resample_counts(len(values), rng) @ values / len(values)
        progress((index + 1) / replicates)
    return dict(zip(columns, means.T, strict=True))
