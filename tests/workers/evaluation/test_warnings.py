"""Each warning appears when it applies, and only then."""

import numpy as np
import pytest

from faceter.contracts.evaluations import EvaluationRequest
from faceter.contracts.metrics import Metric
from tests.workers.evaluation.samples import Floats, gaussian
from workers.evaluation import warnings as module
from workers.evaluation.feature_sets import FeatureSet
from workers.evaluation.metrics import compute_metrics
from workers.evaluation.warnings import evaluation_warnings


def warnings_of(real: Floats, generated: Floats, labels: list[str] | None = None, **options: object) -> str:
    request = EvaluationRequest.model_validate({"reference_id": "dts_a", "generated_id": "dts_b", **options})
    reference = FeatureSet(real, np.arange(len(real)), None if labels is None else np.array(labels))
    other = FeatureSet(generated, np.arange(len(generated)))
    return " ".join(evaluation_warnings(reference, other, request, compute_metrics(reference, other, request)))


@pytest.fixture(autouse=True)
def few_samples_suffice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "USUAL_SAMPLES", 100)


def test_two_good_sets_have_no_warnings() -> None:
    assert warnings_of(gaussian(150, 4), 1.2 * gaussian(150, 4, seed=1)) == ""


def test_few_samples_and_unequal_numbers() -> None:
    assert "few samples: 150 real, 90 generated" in warnings_of(gaussian(150, 4), gaussian(90, 4, seed=1))
    text = warnings_of(gaussian(150, 4), 1.2 * gaussian(120, 4, seed=1))
    assert "differ in size (150 real, 120 generated)" in text
    assert "few" not in text


def test_fid_of_fewer_samples_than_features() -> None:
    text = warnings_of(gaussian(150, 200), gaussian(150, 200, seed=1))
    assert "covariances of 200 features, which 150 samples cannot determine" in text
    assert "covariances" not in warnings_of(gaussian(150, 200), gaussian(150, 200, seed=1), metrics=["kid"])


def test_an_interval_of_fid_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.evaluation.bootstrap._MAX_PRODUCTS", 0)
    assert "FID has no interval" in warnings_of(gaussian(150, 4), gaussian(150, 4, seed=1), bootstrap=5)


def test_balls_of_radius_0_are_counted() -> None:
    real = gaussian(150, 4)
    real[:7] = real[0]
    text = warnings_of(real, gaussian(150, 4, seed=1), k=5)
    assert "7 real samples have 5 or more duplicates" in text
    assert "balls" not in warnings_of(real, gaussian(150, 4, seed=1), k=7)


def test_constant_features() -> None:
    real = gaussian(150, 4)
    real[:, 2] = 3
    assert "1 of 4 features are the same for all real samples" in warnings_of(real, gaussian(150, 4, seed=1))
    assert "All generated samples have the same features" in warnings_of(real, np.ones((150, 4)))


def test_features_unrelated_to_the_classes() -> None:
    labels = [["cat", "dog"][index % 2] for index in range(150)]
    real, generated = gaussian(150, 4), 1.2 * gaussian(150, 4, seed=1)
    assert "no relation to the data" in warnings_of(real, generated, labels)
    real[::2] += 3
    assert "no relation" not in warnings_of(real, generated, labels)


def test_values_at_their_maximum() -> None:
    text = warnings_of(gaussian(150, 4), gaussian(150, 4), k=20)
    assert "maximum of 1, where they cannot rank good models: coverage, precision, recall" in text


def test_an_inception_score_of_few_samples() -> None:
    real, generated = gaussian(150, 4), 1.2 * gaussian(150, 4, seed=1)
    request = EvaluationRequest(reference_id="dts_a", generated_id="dts_b", classifier_id="mdl_c")
    reference, other = (FeatureSet(rows, np.arange(len(rows))) for rows in (real, generated))
    computed = compute_metrics(reference, other, request, lambda _: np.full((150, 4), 0.25))
    assert computed.metrics[Metric.INCEPTION_SCORE].deviation is None
    (warning,) = evaluation_warnings(reference, other, request, computed)
    assert "is over 1 part instead of 10, since a part needs 500 samples for 4 classes and there are 150" in warning
    assert "too low by up to 1 %" in warning
