"""What an evaluation may be asked for, and the metrics."""

from typing import Any

import pytest
from pydantic import ValidationError

from faceter.contracts.evaluations import EvaluationFilter, EvaluationRequest
from faceter.contracts.metrics import Metric

NAMED = {"reference_id": "dts_a", "generated_id": "dts_b"}


def request(**fields: Any) -> EvaluationRequest:
    return EvaluationRequest.model_validate({**NAMED, **fields})


@pytest.mark.parametrize(
    ("k", "ks"), [(5, [5]), ([3], [3]), ([5, 3, 10], [5, 3, 10]), ([5, 3, 5, 3], [5, 3]), (1000, [1000])]
)
def test_ks_keep_their_order_without_duplicates(k: Any, ks: list[int]) -> None:
    assert request(k=k).ks == ks


def test_the_default_k_is_5() -> None:
    assert request().ks == [5]


@pytest.mark.parametrize("k", [0, 1001, -1, 2.5, "five", [], [0], [5, 1001], list(range(1, 52)), [[5]], None])
def test_an_invalid_k_gives_one_message(k: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        request(k=k)
    [error] = caught.value.errors()
    assert error["loc"] == ("k",)
    assert "must be a whole number from 1 to 1000, or a list of 1 to 50 of them" in error["msg"]


def test_fifty_ks_are_allowed() -> None:
    assert len(request(k=list(range(1, 51))).ks) == 50


def test_all_metrics_are_computed_unless_some_are_requested() -> None:
    assert request().selected_metrics == [metric for metric in Metric if metric is not Metric.INCEPTION_SCORE]
    assert request(classifier_id="mdl_c").selected_metrics == list(Metric)
    assert request(metrics=["fid", "density", "fid"]).selected_metrics == [Metric.FID, Metric.DENSITY]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"metrics": []}, "at least 1"),
        ({"metrics": ["psnr"]}, "Input should be 'density'"),
        ({"bootstrap": -1}, "greater than or equal to 0"),
        ({"bootstrap": 10_001}, "less than or equal to 10000"),
        ({"subsample": 0}, "greater than or equal to 1"),
        ({"seed": 2**32}, "less than"),
        ({"name": ""}, "at least 1 character"),
        ({"features": {"model_id": "mdl_a", "tensor": ""}}, "at least 1 character"),
        ({"features": {"model_id": "mdl_a"}}, "Field required"),
        ({"reference": "dts_a"}, "Extra inputs"),
    ],
)
def test_values_out_of_range_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        request(**fields)


def test_references_are_the_datasets_and_models_by_field() -> None:
    assert {field: reference.id for field, reference in request().references.items()} == NAMED
    whole = request(features={"model_id": "mdl_f", "tensor": "pool"}, classifier_id="mdl_c").references
    assert {field: (reference.resource.value, reference.id) for field, reference in whole.items()} == {
        "reference_id": ("datasets", "dts_a"),
        "generated_id": ("datasets", "dts_b"),
        "features.model_id": ("models", "mdl_f"),
        "classifier_id": ("models", "mdl_c"),
    }


def test_each_metric_has_a_meaning_of_its_own_and_reads_as_its_name() -> None:
    assert len({metric.meaning for metric in Metric}) == len(Metric)
    assert all(len(metric.meaning) > 30 and not metric.meaning.endswith(".") for metric in Metric)
    assert Metric("fid") is Metric.FID
    assert f"{Metric.CLIPPED_DENSITY}" == Metric.CLIPPED_DENSITY.value == "clipped_density"


def test_metrics_of_nearest_neighbours_and_distances_to_minimize() -> None:
    assert {metric for metric in Metric if not metric.by_distances} == {Metric.FID, Metric.KID, Metric.INCEPTION_SCORE}
    assert {metric for metric in Metric if metric.smaller_is_better} == {Metric.FID, Metric.KID}


@pytest.mark.parametrize("sort", [*Metric, *(f"-{metric}" for metric in Metric)])
def test_evaluations_sort_by_any_metric(sort: str) -> None:
    assert EvaluationFilter(sort=sort).sort == sort


@pytest.mark.parametrize("sort", ["", "-", "--fid", "created_at", "FID", "fid "])
def test_evaluations_sort_by_nothing_else(sort: str) -> None:
    with pytest.raises(ValidationError, match="must be the name of a metric"):
        EvaluationFilter(sort=sort)
