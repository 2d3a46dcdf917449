"""Warnings of an evaluation: what can make its values misleading."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from faceter.contracts.evaluations import EvaluationRequest
from faceter.contracts.metrics import Metric
from workers.evaluation.feature_sets import FeatureSet
from workers.evaluation.inception_score import USUAL_SPLITS, least_samples, shortfall, split_count
from workers.evaluation.metrics import EvaluationMetrics
from workers.evaluation.points import column_range

USUAL_SAMPLES = 10_000
_NEAR_MAXIMUM = 0.995
_METRICS_UP_TO_ONE = (
    Metric.COVERAGE,
    Metric.PRECISION,
    Metric.RECALL,
    Metric.CLIPPED_DENSITY,
    Metric.CLIPPED_COVERAGE,
    Metric.P_PRECISION,
    Metric.P_RECALL,
)
_MIN_ABOVE_CHANCE = 0.1


def evaluation_warnings(
    reference: FeatureSet, generated: FeatureSet, request: EvaluationRequest, computed: EvaluationMetrics
) -> list[str]:
    """Return the warnings of an evaluation, one or two sentences each."""
    return [
        *_sample_counts(reference, generated, computed),
        *_frechet_distance(reference, generated, request, computed),
        *_inception_score(generated, computed),
        *_zero_radii(request.ks[0], computed),
        *_constant_features(reference, generated),
        *_unrelated_features(reference, computed),
        *_saturated_metrics(computed),
    ]


def _sample_counts(reference: FeatureSet, generated: FeatureSet, computed: EvaluationMetrics) -> Iterator[str]:
    n, m = len(reference), len(generated)
    if min(n, m) < USUAL_SAMPLES:
        yield (
            f"There are few samples: {n:,} real, {m:,} generated; {USUAL_SAMPLES:,} of each are usual. Every value "
            "depends on these numbers: compare it only with values at equal numbers, and request a `bootstrap` for its "
            "uncertainty."
        )
    if n != m:
        note = ", which `expected` takes into account" if Metric.COVERAGE in computed.metrics else ""
        yield f"The sets differ in size ({n:,} real, {m:,} generated). Coverage and recall depend on that{note}."


def _frechet_distance(
    reference: FeatureSet, generated: FeatureSet, request: EvaluationRequest, computed: EvaluationMetrics
) -> Iterator[str]:
    if Metric.FID not in computed.metrics:
        return
    least = min(len(reference), len(generated))
    if least < reference.width:
        yield (
            f"FID needs the covariances of {reference.width:,} features, which {least:,} samples cannot determine: it "
            "is far too high, by an amount that depends on their number. KID has no such bias."
        )
    if request.bootstrap and Metric.FID not in computed.replicates:
        yield "FID has no interval: so many bootstrap replicates would take too long for so many features."


def _inception_score(generated: FeatureSet, computed: EvaluationMetrics) -> Iterator[str]:
    classes = computed.classifier_classes
    if classes is None or Metric.INCEPTION_SCORE not in computed.metrics:
        return
    samples, splits = len(generated), split_count(len(generated), classes)
    if splits < USUAL_SPLITS:
        low = shortfall(samples // splits, classes)
        yield (
            f"The inception score is over {splits} part{'s' if splits > 1 else ''} instead of {USUAL_SPLITS}, since a "
            f"part needs {least_samples(classes):,} samples for {classes:,} classes and there are {samples:,} in all. "
            f"At so few it is too low by up to {100 * low:.2g} %: compare it only with scores at equal numbers."
        )


def _zero_radii(k: int, computed: EvaluationMetrics) -> Iterator[str]:
    for name, neighbors in (("real", computed.comparison.real), ("generated", computed.comparison.generated)):
        empty = int((neighbors.distances[:, k - 1] == 0).sum())
        if empty:
            yield (
                f"{empty:,} {name} samples have {k} or more duplicates, so their balls have radius 0 and contain no "
                "sample, since only samples nearer than the radius are inside. Remove duplicates, or take a larger k."
            )


def _constant_features(reference: FeatureSet, generated: FeatureSet) -> Iterator[str]:
    for name, features in (("real", reference), ("generated", generated)):
        low, high = column_range(features.rows)
        constant = int((low == high).sum())
        if constant == features.width:
            yield f"All {name} samples have the same features: the metrics mean nothing."
        elif constant:
            yield f"{constant:,} of {features.width:,} features are the same for all {name} samples."


def _unrelated_features(reference: FeatureSet, computed: EvaluationMetrics) -> Iterator[str]:
    """Compare how often real samples and their nearest neighbours have the same class with chance."""
    if reference.labels is None:
        return
    _, counts = np.unique(reference.labels, return_counts=True)
    frequencies = counts / len(reference)
    if len(frequencies) < 2:
        return
    chance = float(np.square(frequencies).sum())
    same_class = float((reference.labels == reference.labels[computed.comparison.real.indices[:, 0]]).mean())
    if same_class < chance + _MIN_ABOVE_CHANCE * (1 - chance):
        yield (
            "These features seem to have no relation to the data: a real sample and its nearest neighbour have the "
            f"same class in {100 * same_class:.0f} % of cases, by chance it would be {100 * chance:.0f} %. Take "
            "features of a model that was trained on such data."
        )


def _saturated_metrics(computed: EvaluationMetrics) -> Iterator[str]:
    saturated = [metric.value for metric in _METRICS_UP_TO_ONE if _value(computed, metric) >= _NEAR_MAXIMUM]
    if saturated:
        yield (
            f"At or near their maximum of 1, where they cannot rank good models: {', '.join(saturated)}. A smaller k "
            "is stricter."
        )


def _value(computed: EvaluationMetrics, metric: Metric) -> float:
    return computed.metrics[metric].value if metric in computed.metrics else 0.0
