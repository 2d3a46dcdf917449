"""What a quantization may be asked for."""

from typing import Any

import pytest
from pydantic import ValidationError

from faceter.contracts.quantizations import Granularity, QuantizationMethod, QuantizationRequest, Target


def test_the_defaults() -> None:
    request = QuantizationRequest()
    assert (request.method, request.weight_bits, request.activation_bits) == (QuantizationMethod.AUTO, 8, 8)
    assert request.weight_granularity is Granularity.CHANNEL
    assert (request.target, request.max_minutes, request.max_steps, request.seed) == (None, None, None, 0)


@pytest.mark.parametrize("field", ["weight_bits", "activation_bits"])
@pytest.mark.parametrize(("bits", "allowed"), [(1, False), (2, True), (8, True), (9, False), (4.5, False)])
def test_bits_are_2_to_8(field: str, bits: float, allowed: bool) -> None:
    if allowed:
        assert getattr(QuantizationRequest.model_validate({field: bits}), field) == bits
        return
    with pytest.raises(ValidationError) as caught:
        QuantizationRequest.model_validate({field: bits})
    assert caught.value.errors()[0]["loc"] == (field,)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"method": "best"}, "Input should be"),
        ({"weight_granularity": "row"}, "Input should be 'tensor' or 'channel'"),
        ({"max_minutes": 0}, "greater than 0"),
        ({"max_minutes": -1.0}, "greater than 0"),
        ({"max_steps": 0}, "greater than 0"),
        ({"max_steps": 1.5}, "valid integer"),
        ({"seed": -1}, "greater than or equal to 0"),
        ({"seed": 2**32}, "less than"),
        ({"name": ""}, "at least 1 character"),
        ({"name": "x" * 201}, "at most 200 characters"),
        ({"bits": 4}, "Extra inputs"),
    ],
)
def test_values_out_of_range_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        QuantizationRequest.model_validate(fields)


def test_seeds_have_32_bits() -> None:
    assert QuantizationRequest(seed=2**32 - 1).seed == 2**32 - 1


def test_references_are_the_datasets_that_are_named() -> None:
    assert QuantizationRequest().references == {}
    named = QuantizationRequest(calibration_dataset_id="dts_a", evaluation_dataset_id="dts_b").references
    assert {field: reference.id for field, reference in named.items()} == {
        "calibration_dataset_id": "dts_a",
        "evaluation_dataset_id": "dts_b",
    }
    assert {reference.resource for reference in named.values()} == {"datasets"}


@pytest.mark.parametrize("fields", [{"max_drop": 1.0}, {"max_drop": 100}, {"max_bytes": 1}])
def test_a_target_is_a_drop_or_a_size(fields: dict[str, Any]) -> None:
    assert Target.model_validate(fields).model_dump(exclude_none=True) == fields


@pytest.mark.parametrize("fields", [{}, {"max_drop": 1.0, "max_bytes": 1000}, {"max_drop": None, "max_bytes": None}])
def test_a_target_is_exactly_one_of_them(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="give either max_drop or max_bytes"):
        Target.model_validate(fields)


@pytest.mark.parametrize("fields", [{"max_drop": 0}, {"max_drop": 100.5}, {"max_bytes": 0}, {"max_bytes": 10.5}])
def test_a_target_out_of_range_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Target.model_validate(fields)


def test_the_methods_with_training_are_the_tuned_ones() -> None:
    tuned = {method.value for method in QuantizationMethod if method.tuned}
    assert tuned == {"zeroq", "gdfq", "zaq", "ft", "auto"}
