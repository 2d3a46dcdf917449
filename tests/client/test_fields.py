"""The keyword arguments of the client are the fields of the contracts."""

from typing import Any

import pytest

from app.http.routes.explanations import ModelUnitsQuery, UnitsQuery
from app.services.predictions.service import PredictOptions
from app.services.translators.translation import TranslateOptions
from faceter.client import fields
from faceter.client.calls import fields_of, id_of
from faceter.contracts.analyses import AnalysisFilter
from faceter.contracts.base import Contract
from faceter.contracts.datasets import DatasetFilter
from faceter.contracts.evaluations import EvaluationFilter, EvaluationRequest
from faceter.contracts.explanations import ExplanationFilter, ExplanationRequest
from faceter.contracts.jobs import JobFilter
from faceter.contracts.models import ModelFilter, ModelMetadata, Task
from faceter.contracts.quantizations import QuantizationRequest, Target
from faceter.contracts.translators import TranslatorFilter, TranslatorTraining

_PAGE = {"limit", "cursor"}


@pytest.mark.parametrize(
    ("given", "contract", "positional"),
    [
        (fields.QuantizationFields, QuantizationRequest, set()),
        (fields.ExplanationFields, ExplanationRequest, {"dataset_id", "layer"}),
        (fields.EvaluationFields, EvaluationRequest, {"reference_id", "generated_id"}),
        (fields.TrainingFields, TranslatorTraining, {"dataset_id", "method"}),
        (fields.PredictionFields, PredictOptions, set()),
        (fields.TranslationFields, TranslateOptions, set()),
        (fields.ModelFilters, ModelFilter, set()),
        (fields.DatasetFilters, DatasetFilter, set()),
        (fields.ExplanationFilters, ExplanationFilter, set()),
        (fields.EvaluationFilters, EvaluationFilter, set()),
        (fields.AnalysisFilters, AnalysisFilter, set()),
        (fields.TranslatorFilters, TranslatorFilter, set()),
        (fields.JobFilters, JobFilter, set()),
        (fields.UnitFilters, UnitsQuery, _PAGE),
        (fields.UnitSearchFilters, ModelUnitsQuery, _PAGE),
    ],
)
def test_no_field_is_missing_and_none_too_many(given: Any, contract: type[Contract], positional: set[str]) -> None:
    assert set(given.__annotations__) | positional == set(contract.model_fields)


def test_resources_become_ids_and_contracts_become_objects() -> None:
    class Something:
        id = "dts_1"

    made = fields_of(
        {
            "a": Something(),
            "b": Target(max_drop=1.0),
            "c": Task.OTHER,
            "d": [Something(), "x"],
            "e": {Task.OTHER: (1, 2)},
            "f": None,
            "g": False,
            "h": ModelMetadata(labels=["a"]),
        }
    )
    assert made == {
        "a": "dts_1",
        "b": {"max_drop": 1.0},
        "c": "other",
        "d": ["dts_1", "x"],
        "e": {"other": [1, 2]},
        "g": False,
        "h": {"labels": ["a"]},
    }
    with pytest.raises(TypeError, match="int"):
        id_of(3)  # type: ignore[arg-type]
