"""What could mislead is said, and nothing is said where nothing could."""

import numpy as np
import pytest

from faceter.contracts.evaluations import EvaluationRequest
from tests.workers.evaluation.samples import Floats, gaussian
from workers.evaluation import cautions as module
from workers.evaluation.cautions import cautions
from workers.evaluation.feature_sets import FeatureSet
from workers.evaluation.grading import grade


def said(real: Floats, generated: Floats, labels: list[str] | None = None, **asked: object) -> str:
    request = EvaluationRequest.model_validate({"reference_id": "dts_a", "generated_id": "dts_b", **asked})
    reference = FeatureSet(real, np.arange(len(real)), None if labels is None else np.array(labels))
    other = FeatureSet(generated, np.arange(len(generated)))
    return " ".join(cautions(reference, other, request, grade(reference, other, request)))


@pytest.fixture(autouse=True)
def few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FEW", 100)


def test_two_good_sets_need_no_words() -> None:
    assert said(gaussian(150, 4), 1.2 * gaussian(150, 4, seed=1)) == ""


def test_few_samples_and_unequal_numbers() -> None:
    assert "few samples: 150 real, 90 generated" in said(gaussian(150, 4), gaussian(90, 4, seed=1))
    words = said(gaussian(150, 4), 1.2 * gaussian(120, 4, seed=1))
    assert "differ in size (150 real, 120 generated)" in words
    assert "few" not in words


def test_fid_of_fewer_samples_than_features() -> None:
    words = said(gaussian(150, 200), gaussian(150, 200, seed=1))
    assert "covariances of 200 features, which 150 samples cannot tell" in words
    assert "covariances" not in said(gaussian(150, 200), gaussian(150, 200, seed=1), metrics=["kid"])


def test_an_interval_of_fid_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.evaluation.bootstrap._MOST_PRODUCTS", 0)
    assert "FID has no interval" in said(gaussian(150, 4), gaussian(150, 4, seed=1), bootstrap=5)


def test_balls_of_no_size_are_counted() -> None:
    real = gaussian(150, 4)
    real[:7] = real[0]
    words = said(real, gaussian(150, 4, seed=1), k=5)
    assert "7 real samples have 5 others or more that are equal to them" in words
    assert "balls" not in said(real, gaussian(150, 4, seed=1), k=7)


def test_features_that_never_change() -> None:
    real = gaussian(150, 4)
    real[:, 2] = 3
    assert "1 of 4 features are the same for all real samples" in said(real, gaussian(150, 4, seed=1))
    assert "All generated samples have the same features" in said(real, np.ones((150, 4)))


def test_features_that_know_nothing_of_the_classes() -> None:
    labels = [["cat", "dog"][index % 2] for index in range(150)]
    real, generated = gaussian(150, 4), 1.2 * gaussian(150, 4, seed=1)
    assert "no relation to the data" in said(real, generated, labels)
    real[::2] += 3
    assert "no relation" not in said(real, generated, labels)


def test_values_at_their_maximum() -> None:
    words = said(gaussian(150, 4), gaussian(150, 4), k=20)
    assert "maximum of 1, where they tell good from better no more: coverage, precision, recall" in words
