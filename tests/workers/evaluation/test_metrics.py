"""Every requested metric is computed, independently of the others."""

import numpy as np
import pytest

from faceter.contracts.evaluations import EvaluationRequest
from faceter.contracts.metrics import Metric
from tests.workers.evaluation.samples import Floats, gaussian
from workers.evaluation.comparison import compare
from workers.evaluation.density_coverage import expected_coverage
from workers.evaluation.feature_sets import FeatureSet
from workers.evaluation.frechet import frechet_distance, moments
from workers.evaluation.inception_score import split_score
from workers.evaluation.metrics import METRICS_OF_K, EvaluationMetrics, compute_metrics
from workers.jobs.stages import Stage

CLASSES = np.array(["cat", "dog", "owl"])


def features(rows: Floats, seed: int = 0) -> FeatureSet:
    labels = CLASSES[np.random.default_rng(seed).integers(0, 3, len(rows))]
    return FeatureSet(rows, np.arange(len(rows)), labels)


REAL, GENERATED = features(gaussian(240, 10)), features(0.8 * gaussian(200, 10, seed=1) + 0.2, 1)


def computed(**options: object) -> EvaluationMetrics:
    request = EvaluationRequest.model_validate({"reference_id": "dts_a", "generated_id": "dts_b", **options})
    rng = np.random.default_rng(3)
    powers = np.exp(rng.normal(size=(200, 4)))
    probabilities = powers / powers.sum(1, keepdims=True)
    return compute_metrics(REAL, GENERATED, request, (lambda _: probabilities) if request.classifier_id else None)


def test_every_metric_has_its_value_and_its_meaning() -> None:
    found = computed(classifier_id="mdl_c").metrics
    assert set(found) == set(Metric)
    expected = compare(REAL.rows, GENERATED.rows, [5]).values()[0]
    assert {name: found[Metric(name)].value for name in expected} == expected
    assert found[Metric.FID].value == pytest.approx(frechet_distance(moments(REAL.rows), moments(GENERATED.rows)))
    assert found[Metric.INCEPTION_SCORE].value > 1
    assert found[Metric.KID].deviation is not None
    assert all(item.seconds >= 0 and item.meaning == metric.meaning != "" for metric, item in found.items())
    assert all(item.interval is None for item in found.values())


def test_expected_values_belong_to_density_and_coverage_alone() -> None:
    found = computed(k=7).metrics
    assert found[Metric.DENSITY].expected == 1
    assert found[Metric.COVERAGE].expected == expected_coverage(240, 200, 7)
    assert {metric for metric, item in found.items() if item.expected is not None} == {Metric.DENSITY, Metric.COVERAGE}


def test_no_metric_depends_on_what_else_is_requested() -> None:
    whole = computed(k=[5, 3], bootstrap=20, per_class=True).metrics
    for metric in (Metric.KID, Metric.COVERAGE, Metric.FID):
        assert computed(metrics=[metric]).metrics[metric].value == whole[metric].value


def test_the_first_k_is_that_of_the_metrics_and_all_are_in_the_sweep() -> None:
    found = computed(k=[4, 2, 9])
    assert [point.k for point in found.sweep] == [4, 2, 9]
    for point in found.sweep:
        assert set(point.values) == {metric.value for metric in METRICS_OF_K}
        alone = computed(k=point.k).metrics
        assert point.values == {metric.value: alone[metric].value for metric in METRICS_OF_K}
        assert point.expected == {"density": 1.0, "coverage": expected_coverage(240, 200, point.k)}
    assert found.metrics[Metric.DENSITY].value == found.sweep[0].values["density"]


def test_each_class_by_itself() -> None:
    found = computed(per_class=True).per_class
    assert [item.label for item in found] == sorted(CLASSES)
    for item in found:
        real, fake = REAL.of_class(item.label), GENERATED.of_class(item.label)
        assert (item.reference_samples, item.generated_samples) == (len(real), len(fake))
        assert item.values == compare(real.rows, fake.rows, [5]).values()[0]
        assert item.expected["coverage"] == expected_coverage(len(real), len(fake), 5)


def test_a_class_with_too_few_samples_has_no_values() -> None:
    assert all(not item.values for item in computed(per_class=True, k=150).per_class)


def test_intervals_hold_their_values() -> None:
    found = computed(bootstrap=100)
    with_interval = {metric for metric, item in found.metrics.items() if item.interval is not None}
    assert with_interval == set(Metric) - {Metric.KID, Metric.INCEPTION_SCORE}
    for metric in with_interval:
        item = found.metrics[metric]
        assert item.interval is not None
        assert item.interval[0] <= item.value <= item.interval[1]


def test_the_inception_score_is_about_that_of_all_samples_together() -> None:
    rng = np.random.default_rng(3)
    powers = np.exp(rng.normal(size=(200, 4)))
    whole = split_score(powers / powers.sum(1, keepdims=True))
    assert computed(classifier_id="mdl_c").metrics[Metric.INCEPTION_SCORE].value == pytest.approx(whole, rel=0.1)


def test_progress_rises_to_its_end() -> None:
    reports: list[tuple[str, float]] = []
    request = EvaluationRequest(reference_id="dts_a", generated_id="dts_b", bootstrap=10, per_class=True)
    progress = Stage(lambda step, fraction, _: reports.append((step, fraction)), "metrics")
    compute_metrics(REAL, GENERATED, request, None, progress)
    fractions = [fraction for _, fraction in reports]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1)
    assert {step for step, _ in reports} == {"distances", "bootstrap", "fid", "kid", "bootstrap of fid", "classes"}
