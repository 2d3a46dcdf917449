"""Two sets of features graded: every metric, its interval, the sweep over k, and each class by itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from faceter.contracts.evaluations import LEAST_SAMPLES, ClassValues, EvaluationRequest, Metric, MetricValue, SweepPoint
from workers.evaluation.bootstrap import bootstrap, bootstrap_frechet, interval
from workers.evaluation.comparison import Comparison, compare
from workers.evaluation.density_coverage import EXPECTED_DENSITY, expected_coverage
from workers.evaluation.feature_sets import FeatureSet
from workers.evaluation.frechet import frechet_distance, moments
from workers.evaluation.inception_score import inception_score
from workers.evaluation.kernel_distance import kernel_distance
from workers.evaluation.points import Floats
from workers.jobs.journal import Journal

SWEPT = (
    Metric.DENSITY,
    Metric.COVERAGE,
    Metric.PRECISION,
    Metric.RECALL,
    Metric.CLIPPED_DENSITY,
    Metric.CLIPPED_COVERAGE,
)
"""The metrics that depend on k."""

MEANINGS: Mapping[Metric, str] = {
    Metric.DENSITY: "fidelity: how many real balls a generated sample lies in, on average, over k; may exceed 1",
    Metric.COVERAGE: "diversity: share of real samples in whose ball there is a generated one",
    Metric.PRECISION: "share of generated samples in any real ball; one real outlier raises it, density it does not",
    Metric.RECALL: "share of real samples in any generated ball; generated outliers raise it, coverage they do not",
    Metric.CLIPPED_DENSITY: "fidelity that reads as the share of good generated samples",
    Metric.CLIPPED_COVERAGE: "diversity that reads as the share of good samples that would cover as much",
    Metric.P_PRECISION: "precision in which a sample counts the less the farther it is from real ones",
    Metric.P_RECALL: "recall in which a sample counts the less the farther it is from generated ones",
    Metric.AUTHENTICITY: "share of generated samples that are farther from the nearest real one than that is from any "
    "other; little means copies: compare it with that of real samples held out",
    Metric.FID: "Fréchet distance of the normal distributions with both sets' means and covariances; 0 is best",
    Metric.KID: "unbiased squared kernel distance, cubic kernel, mean over 100 subsets; 0 is best, below it possible",
    Metric.INCEPTION_SCORE: "how sure the classifier is of each generated sample and how many classes it sees in all, "
    "from 1 to the number of classes; real samples play no part",
}

_CORNERS = {"distances": 0.8, "bootstrap": 0.86, "moments": 0.96}

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Graded:
    """What came of it.

    Args:
        comparison: The distances.
        metrics: By name.
        sweep: At every k.
        per_class: Each class by itself.
        replicates: Values over samples drawn anew, by metric, float64 [B].
    """

    comparison: Comparison
    metrics: dict[Metric, MetricValue]
    sweep: list[SweepPoint]
    per_class: list[ClassValues] = field(default_factory=list)
    replicates: dict[Metric, Floats] = field(default_factory=dict)


def grade(
    reference: FeatureSet,
    generated: FeatureSet,
    request: EvaluationRequest,
    probabilities: Floats | None = None,
    progress: Progress = lambda step, fraction: None,
    journal: Journal | None = None,
) -> Graded:
    """Grade generated samples.

    Args:
        reference: The real samples, at least 6 and more than any k.
        generated: The generated ones, likewise; features of the same width.
        request: Which metrics, which k, how many replicates.
        probabilities: For the inception score: p(y|x) of each generated sample, [M, K].
        progress: Told the step and the share of all this that is done.
        journal: Keeps where the distances stand.
    """
    ks, wanted = request.ks, request.wanted
    began = time.monotonic()
    comparison = compare(
        reference.rows, generated.rows, ks, _within(progress, "distances", 0, _CORNERS["distances"]), journal
    )
    seconds = {metric: time.monotonic() - began for metric in wanted if metric.by_distances}
    by_k = comparison.values()
    values: dict[Metric, float] = {metric: by_k[0][metric] for metric in seconds}
    deviations: dict[Metric, float] = {}
    replicates: dict[Metric, Floats] = {}
    if request.bootstrap:
        told = _within(progress, "drawing samples anew", _CORNERS["distances"], _CORNERS["bootstrap"])
        found = bootstrap(comparison, 0, request.bootstrap, _rng(request, 0), told)
        replicates = {metric: found[metric] for metric in seconds}
    for metric, measure in _others(reference, generated, request, probabilities).items():
        progress(metric.value, _CORNERS["bootstrap"])
        began = time.monotonic()
        values[metric], deviation = measure()
        if deviation is not None:
            deviations[metric] = deviation
        seconds[metric] = time.monotonic() - began
    if request.bootstrap and Metric.FID in values:
        progress("drawing samples anew", _CORNERS["bootstrap"])
        distances = bootstrap_frechet(
            reference.rows, generated.rows, request.bootstrap, _rng(request, 1), values[Metric.FID]
        )
        if distances is not None:
            replicates[Metric.FID] = distances
    expected = _expected(len(reference), len(generated), ks[0], wanted)
    return Graded(
        comparison=comparison,
        metrics={
            metric: MetricValue(
                value=values[metric],
                expected=expected.get(metric),
                interval=interval(replicates[metric]) if metric in replicates else None,
                deviation=deviations.get(metric),
                seconds=round(seconds[metric], 3),
                meaning=MEANINGS[metric],
            )
            for metric in wanted
        },
        sweep=[
            SweepPoint(
                k=k,
                values={metric.value: found[metric] for metric in SWEPT if metric in wanted},
                expected=_named(_expected(len(reference), len(generated), k, wanted)),
            )
            for k, found in zip(ks, by_k, strict=True)
        ],
        per_class=_per_class(reference, generated, request, _within(progress, "classes", _CORNERS["moments"], 1.0)),
        replicates=replicates,
    )


def _others(
    reference: FeatureSet, generated: FeatureSet, request: EvaluationRequest, probabilities: Floats | None
) -> dict[Metric, Callable[[], tuple[float, float | None]]]:
    """Return what measures each metric that is not made of nearest neighbours: its value, and its deviation if any."""

    def frechet() -> tuple[float, float | None]:
        return frechet_distance(moments(reference.rows), moments(generated.rows)), None

    def kernel() -> tuple[float, float | None]:
        found = kernel_distance(reference.rows, generated.rows, _rng(request, 2))
        return found.mean, found.deviation

    def inception() -> tuple[float, float | None]:
        assert probabilities is not None
        found = inception_score(probabilities, _rng(request, 3))
        return found.mean, found.deviation

    known: dict[Metric, Callable[[], tuple[float, float | None]]] = {
        Metric.FID: frechet,
        Metric.KID: kernel,
        Metric.INCEPTION_SCORE: inception,
    }
    return {metric: measure for metric, measure in known.items() if metric in request.wanted}


def _per_class(
    reference: FeatureSet, generated: FeatureSet, request: EvaluationRequest, progress: Callable[[float], None]
) -> list[ClassValues]:
    if not request.per_class or reference.labels is None or generated.labels is None:
        return []
    k = request.ks[0]
    by_distances = [metric for metric in request.wanted if metric.by_distances]
    labels = sorted(set(reference.labels.tolist()) & set(generated.labels.tolist()))
    found = []
    for index, label in enumerate(labels):
        real, made = reference.of_class(label), generated.of_class(label)
        enough = min(len(real), len(made)) >= max(k + 1, LEAST_SAMPLES)
        values = compare(real.rows, made.rows, [k]).values()[0] if enough else {}
        found.append(
            ClassValues(
                label=label,
                reference_samples=len(real),
                generated_samples=len(made),
                values={metric.value: values[metric] for metric in by_distances} if enough else {},
                expected=_named(_expected(len(real), len(made), k, request.wanted)) if enough else {},
            )
        )
        progress((index + 1) / len(labels))
    return found


def _expected(real: int, generated: int, k: int, wanted: Iterable[Metric]) -> dict[Metric, float]:
    known = {Metric.DENSITY: EXPECTED_DENSITY, Metric.COVERAGE: expected_coverage(real, generated, k)}
    return {metric: known[metric] for metric in wanted if metric in known}


def _named(values: Mapping[Metric, float]) -> dict[str, float]:
    return {metric.value: value for metric, value in values.items()}


def _rng(request: EvaluationRequest, purpose: int) -> np.random.Generator:
    """Return a generator for one purpose, so that no metric depends on which others are asked for."""
    return np.random.default_rng([request.seed, purpose])


def _within(progress: Progress, step: str, start: float, end: float) -> Callable[[float], None]:
    return lambda share: progress(step, start + share * (end - start))
