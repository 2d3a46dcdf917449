"""Computes the metrics of two sets of features: values, confidence intervals, the sweep over k, and per class."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from faceter.contracts.evaluations import LEAST_SAMPLES, ClassValues, EvaluationRequest, MetricValue, SweepPoint
from faceter.contracts.metrics import Metric
from workers.evaluation.bootstrap import bootstrap, bootstrap_frechet, confidence_interval
from workers.evaluation.comparison import SetComparison, compare
from workers.evaluation.density_coverage import EXPECTED_DENSITY, expected_coverage
from workers.evaluation.feature_sets import FeatureSet
from workers.evaluation.frechet import frechet_distance, moments
from workers.evaluation.inception_score import inception_score
from workers.evaluation.kernel_distance import SIZE, kernel_distance, of_subsets
from workers.evaluation.points import Floats
from workers.evaluation.work_beside import FID, KID, WorkBeside, fid_beside, kid_beside
from workers.jobs.division import UNDIVIDED, Division
from workers.jobs.journal import Journal
from workers.jobs.stages import SILENT, Stage

METRICS_OF_K = (
    Metric.DENSITY,
    Metric.COVERAGE,
    Metric.PRECISION,
    Metric.RECALL,
    Metric.CLIPPED_DENSITY,
    Metric.CLIPPED_COVERAGE,
)
"""The metrics that depend on k, which the sweep has."""

_CLASSIFYING = "classifying the generated samples"

_WEIGHTS = {Metric.FID: 3.0, Metric.KID: 4.0, Metric.INCEPTION_SCORE: 1.0}
"""Relative time of the metrics that are not computed from nearest neighbors, which take 80."""


@dataclass(frozen=True)
class EvaluationMetrics:
    """The metrics of two sets of samples.

    Args:
        comparison: Nearest neighbours and ball counts.
        metrics: Value of each metric at the first k.
        sweep: Values at every k.
        per_class: Values of each class.
        replicates: Bootstrap replicates of metrics, float64 [B].
        classifier_classes: Number of classes of the inception score's classifier, if there is one.
    """

    comparison: SetComparison
    metrics: dict[Metric, MetricValue]
    sweep: list[SweepPoint]
    per_class: list[ClassValues] = field(default_factory=list)
    replicates: dict[Metric, Floats] = field(default_factory=dict)
    classifier_classes: int | None = None


def compute_metrics(
    reference: FeatureSet,
    generated: FeatureSet,
    request: EvaluationRequest,
    classify: Callable[[Stage], Floats] | None = None,
    progress: Stage = SILENT,
    journal: Journal | None = None,
    division: Division = UNDIVIDED,
) -> EvaluationMetrics:
    """Compute the metrics of a request.

    Args:
        reference: The real samples, at least 6 and more than any k.
        generated: The generated samples, likewise, in the same feature space.
        request: Which metrics, which k, how many bootstrap replicates.
        classify: For the inception score: returns p(y|x) of each generated sample, [M, K]. Called after the distances,
            which may be left to shards.
        journal: Stores intermediate states of the distances.
        division: How the distances are divided.
    """
    ks, metrics = request.ks, request.selected_metrics
    started = time.monotonic()
    stages = progress.stages(_stage_weights(request, len(reference), len(generated)))
    beside = _beside(reference, generated, request)
    comparison = compare(reference.rows, generated.rows, ks, stages.enter("distances"), journal, division, beside)
    seconds = {metric: time.monotonic() - started for metric in metrics if metric.by_distances}
    by_k = comparison.values()
    values: dict[Metric, float] = {metric: by_k[0][metric] for metric in seconds}
    deviations: dict[Metric, float] = {}
    replicates: dict[Metric, Floats] = {}
    if request.bootstrap:
        by_name = bootstrap(comparison, 0, request.bootstrap, _rng(request, 0), stages.enter("bootstrap"))
        replicates = {metric: by_name[metric] for metric in seconds}
    probabilities = None if classify is None else classify(stages.enter(_CLASSIFYING))
    for metric, measure in _other_metrics(reference, generated, request, probabilities, division).items():
        stages.enter(metric.value)
        started = time.monotonic()
        values[metric], deviation = measure()
        if deviation is not None:
            deviations[metric] = deviation
        seconds[metric] = time.monotonic() - started
    if request.bootstrap and Metric.FID in values:
        stages.enter("bootstrap of fid")
        distances = bootstrap_frechet(
            reference.rows, generated.rows, request.bootstrap, _rng(request, 1), values[Metric.FID]
        )
        if distances is not None:
            replicates[Metric.FID] = distances
    expected = _expected(len(reference), len(generated), ks[0], metrics)
    return EvaluationMetrics(
        comparison=comparison,
        metrics={
            metric: MetricValue(
                value=values[metric],
                expected=expected.get(metric),
                interval=confidence_interval(replicates[metric]) if metric in replicates else None,
                deviation=deviations.get(metric),
                seconds=round(seconds[metric], 3),
                meaning=metric.meaning,
            )
            for metric in metrics
        },
        sweep=[
            SweepPoint(
                k=k,
                values={metric.value: values_at_k[metric] for metric in METRICS_OF_K if metric in metrics},
                expected=_by_name(_expected(len(reference), len(generated), k, metrics)),
            )
            for k, values_at_k in zip(ks, by_k, strict=True)
        ],
        per_class=_per_class(reference, generated, request, stages.enter("classes")),
        replicates=replicates,
        classifier_classes=None if probabilities is None else probabilities.shape[1],
    )


def _beside(reference: FeatureSet, generated: FeatureSet, request: EvaluationRequest) -> list[WorkBeside]:
    beside = []
    if Metric.KID in request.selected_metrics:
        beside.append(kid_beside(reference.rows, generated.rows, partial(_rng, request, 2)))
    if Metric.FID in request.selected_metrics:
        beside.append(fid_beside(reference.rows, generated.rows))
    return beside


def _other_metrics(
    reference: FeatureSet,
    generated: FeatureSet,
    request: EvaluationRequest,
    probabilities: Floats | None,
    division: Division,
) -> dict[Metric, Callable[[], tuple[float, float | None]]]:
    """Return functions for the metrics without nearest neighbours: value, and standard deviation if any."""

    def frechet() -> tuple[float, float | None]:
        for part in division.parts_of(FID):
            return float(part.load()["distance"]), None
        return frechet_distance(moments(reference.rows), moments(generated.rows)), None

    def kernel() -> tuple[float, float | None]:
        parts = division.parts_of(KID)
        if parts:
            distances = np.concatenate([part.load()["distances"] for part in parts])
            found = of_subsets(distances, min(SIZE, len(reference), len(generated)))
            return found.mean, found.deviation
        distance = kernel_distance(reference.rows, generated.rows, _rng(request, 2))
        return distance.mean, distance.deviation

    def inception() -> tuple[float, float | None]:
        assert probabilities is not None
        score = inception_score(probabilities, _rng(request, 3))
        return score.mean, score.deviation if score.splits > 1 else None

    measures: dict[Metric, Callable[[], tuple[float, float | None]]] = {
        Metric.FID: frechet,
        Metric.KID: kernel,
        Metric.INCEPTION_SCORE: inception,
    }
    return {metric: measure for metric, measure in measures.items() if metric in request.selected_metrics}


def _per_class(
    reference: FeatureSet, generated: FeatureSet, request: EvaluationRequest, progress: Callable[[float], None]
) -> list[ClassValues]:
    if not request.per_class or reference.labels is None or generated.labels is None:
        return []
    k = request.ks[0]
    by_distances = [metric for metric in request.selected_metrics if metric.by_distances]
    labels = sorted(set(reference.labels.tolist()) & set(generated.labels.tolist()))
    per_class = []
    for index, label in enumerate(labels):
        real, fake = reference.of_class(label), generated.of_class(label)
        enough = min(len(real), len(fake)) >= max(k + 1, LEAST_SAMPLES)
        values = compare(real.rows, fake.rows, [k]).values()[0] if enough else {}
        per_class.append(
            ClassValues(
                label=label,
                reference_samples=len(real),
                generated_samples=len(fake),
                values={metric.value: values[metric] for metric in by_distances} if enough else {},
                expected=_by_name(_expected(len(real), len(fake), k, request.selected_metrics)) if enough else {},
            )
        )
        progress((index + 1) / len(labels))
    return per_class


def _expected(real: int, generated: int, k: int, metrics: Iterable[Metric]) -> dict[Metric, float]:
    expected = {Metric.DENSITY: EXPECTED_DENSITY, Metric.COVERAGE: expected_coverage(real, generated, k)}
    return {metric: expected[metric] for metric in metrics if metric in expected}


def _by_name(values: Mapping[Metric, float]) -> dict[str, float]:
    return {metric.value: value for metric, value in values.items()}


def _rng(request: EvaluationRequest, purpose: int) -> np.random.Generator:
    """Return a generator for one purpose, so that no metric depends on which others are requested."""
    return np.random.default_rng([request.seed, purpose])


def seconds_of_distances(real: int, generated: int) -> float:
    """Return the seconds that distances, and what follows from them, may take on two cores."""
    return 1.0 + 1e-7 * real * generated


def seconds_of_model(samples: int) -> float:
    """Return the seconds that running a model on samples may take on two cores."""
    return 0.01 * samples


def _stage_weights(request: EvaluationRequest, real: int, generated: int) -> dict[str, float]:
    others = [metric for metric in _WEIGHTS if metric in request.selected_metrics]
    classifying = 100 * seconds_of_model(generated) / seconds_of_distances(real, generated)
    return {
        "distances": 80.0,
        "bootstrap": 6.0 if request.bootstrap else 0.0,
        _CLASSIFYING: classifying if request.classifier_id is not None else 0.0,
        **{metric.value: _WEIGHTS[metric] for metric in others},
        "bootstrap of fid": 4.0 if request.bootstrap and Metric.FID in others else 0.0,
        "classes": 4.0 if request.per_class else 0.0,
    }
