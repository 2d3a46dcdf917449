"""What could mislead a reader of an evaluation's values."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from faceter.contracts.evaluations import EvaluationRequest, Metric
from workers.evaluation.feature_sets import FeatureSet
from workers.evaluation.grading import Graded
from workers.evaluation.points import column_range

FEW = 10_000
_NEAR_MAXIMUM = 0.995
_AT_MOST_ONE = (
    Metric.COVERAGE,
    Metric.PRECISION,
    Metric.RECALL,
    Metric.CLIPPED_DENSITY,
    Metric.CLIPPED_COVERAGE,
    Metric.P_PRECISION,
    Metric.P_RECALL,
)
_LITTLE_ABOVE_CHANCE = 0.1


def cautions(reference: FeatureSet, generated: FeatureSet, request: EvaluationRequest, graded: Graded) -> list[str]:
    """Return a sentence or two for each thing that a reader should know.

    Args:
        reference: The real samples.
        generated: The generated ones.
        request: What was asked for.
        graded: What came of it.
    """
    return [
        *_of_counts(reference, generated, graded),
        *_of_moments(reference, generated, request, graded),
        *_of_radii(request.ks[0], graded),
        *_of_features(reference, generated),
        *_of_relation(reference, graded),
        *_of_maxima(graded),
    ]


def _of_counts(reference: FeatureSet, generated: FeatureSet, graded: Graded) -> Iterator[str]:
    n, m = len(reference), len(generated)
    if min(n, m) < FEW:
        yield (
            f"There are few samples: {n:,} real, {m:,} generated; {FEW:,} of each are usual. Every value depends on "
            "these numbers: compare it with others at equal ones only, and ask for a `bootstrap` to see how sure it is."
        )
    if n != m:
        beside = ", which `expected` takes into account" if Metric.COVERAGE in graded.metrics else ""
        yield f"The sets differ in size ({n:,} real, {m:,} generated). Coverage and recall depend on that{beside}."


def _of_moments(
    reference: FeatureSet, generated: FeatureSet, request: EvaluationRequest, graded: Graded
) -> Iterator[str]:
    if Metric.FID not in graded.metrics:
        return
    least = min(len(reference), len(generated))
    if least < reference.width:
        yield (
            f"FID is made of covariances of {reference.width:,} features, which {least:,} samples cannot tell: it is "
            "far too high, by an amount that depends on their number. KID has no such bias."
        )
    if request.bootstrap and Metric.FID not in graded.replicates:
        yield "FID has no interval: to draw samples anew so often would take too long at this width."


def _of_radii(k: int, graded: Graded) -> Iterator[str]:
    for name, neighbors in (("real", graded.comparison.real), ("generated", graded.comparison.generated)):
        empty = int((neighbors.distances[:, k - 1] == 0).sum())
        if empty:
            yield (
                f"{empty:,} {name} samples have {k} others or more that are equal to them, so their balls have no size "
                f"and hold nothing, equal samples neither, since only what is nearer than the radius counts. Remove "
                "duplicates, or take a larger k."
            )


def _of_features(reference: FeatureSet, generated: FeatureSet) -> Iterator[str]:
    for name, features in (("real", reference), ("generated", generated)):
        low, high = column_range(features.rows)
        constant = int((low == high).sum())
        if constant == features.width:
            yield f"All {name} samples have the same features: nothing can be told from them."
        elif constant:
            yield f"{constant:,} of {features.width:,} features are the same for all {name} samples."


def _of_relation(reference: FeatureSet, graded: Graded) -> Iterator[str]:
    """Hold the features against the classes of the real samples: neighbours should be of one class more than by chance.

    Yields:
        That they are not.
    """
    if reference.labels is None:
        return
    _, counts = np.unique(reference.labels, return_counts=True)
    shares = counts / len(reference)
    if len(shares) < 2:
        return
    chance = float(np.square(shares).sum())
    alike = float((reference.labels == reference.labels[graded.comparison.real.indices[:, 0]]).mean())
    if alike < chance + _LITTLE_ABOVE_CHANCE * (1 - chance):
        yield (
            f"These features seem to have no relation to the data: a real sample and its nearest neighbour are of one "
            f"class in {100 * alike:.0f} % of cases, by chance it would be {100 * chance:.0f} %. Take features of a "
            "model that was trained on such data."
        )


def _of_maxima(graded: Graded) -> Iterator[str]:
    full = [metric.value for metric in _AT_MOST_ONE if _value(graded, metric) >= _NEAR_MAXIMUM]
    if full:
        yield (
            f"At or near their maximum of 1, where they tell good from better no more: {', '.join(full)}. A smaller k "
            "is stricter."
        )


def _value(graded: Graded, metric: Metric) -> float:
    return graded.metrics[metric].value if metric in graded.metrics else 0.0
