"""Laws of every contract: frozen, strict, documented, with valid examples, the same after JSON."""

import inspect
import json
from typing import Annotated, Any, get_type_hints

import pytest
from pydantic import TypeAdapter, ValidationError

from faceter.contracts.base import Contract
from tests.contracts.examples import contracts, example, values_of

CONTRACTS = contracts()
FIELDS = [(cls, name) for cls in CONTRACTS for name in cls.model_fields]

every_contract = pytest.mark.parametrize("cls", CONTRACTS, ids=lambda cls: cls.__name__)
every_field = pytest.mark.parametrize(("cls", "name"), FIELDS, ids=[f"{cls.__name__}.{name}" for cls, name in FIELDS])


def test_all_contracts_are_found() -> None:
    names = {cls.__name__ for cls in CONTRACTS}
    assert {"Model", "Dataset", "Job", "Evaluation", "Explanation", "Analysis", "QuantizationRequest"} <= names
    assert len(CONTRACTS) > 60


def test_names_are_unique() -> None:
    names = [cls.__name__ for cls in CONTRACTS]
    assert sorted(set(names)) == sorted(names)


@every_contract
def test_it_is_frozen(cls: type[Contract]) -> None:
    instance = example(cls)
    for name in cls.model_fields:
        with pytest.raises(ValidationError) as caught:
            setattr(instance, name, getattr(instance, name))
        assert caught.value.errors()[0]["type"] == "frozen_instance"


@every_contract
def test_unknown_fields_are_refused(cls: type[Contract]) -> None:
    with pytest.raises(ValidationError) as caught:
        cls.model_validate_json(json.dumps({**values_of(cls), "misspelt": 1}))
    assert [(error["type"], error["loc"][-1]) for error in caught.value.errors()] == [("extra_forbidden", "misspelt")]


@every_contract
def test_missing_fields_are_named(cls: type[Contract]) -> None:
    required = {name for name, field in cls.model_fields.items() if field.is_required()}
    if not required:
        return
    with pytest.raises(ValidationError) as caught:
        cls.model_validate({})
    assert {error["loc"][0] for error in caught.value.errors() if error["type"] == "missing"} == required


@every_contract
def test_it_has_a_description_of_its_own(cls: type[Contract]) -> None:
    assert (cls.__dict__.get("__doc__") or "").strip().endswith((".", "`", ")")), cls.__doc__


@every_field
def test_a_field_has_a_description(cls: type[Contract], name: str) -> None:
    assert cls.model_fields[name].description, "a docstring below the field"


@every_field
def test_examples_of_a_field_are_valid(cls: type[Contract], name: str) -> None:
    field = cls.model_fields[name]
    annotation: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
    adapter: TypeAdapter[Any] = TypeAdapter(annotation)
    for value in field.examples or []:
        adapter.validate_json(json.dumps(value))


@every_contract
def test_json_round_trip(cls: type[Contract]) -> None:
    instance = example(cls)
    assert cls.model_validate_json(instance.model_dump_json()) == instance
    assert cls.model_validate(instance.model_dump()) == instance


@every_contract
def test_defaults_are_valid(cls: type[Contract]) -> None:
    """Defaults are not validated when they are used, so a record with one could not be read back."""
    instance = example(cls)
    optional = {name for name, field in cls.model_fields.items() if not field.is_required()}
    minimal = cls.model_validate_json(instance.model_dump_json(exclude=optional - {*values_of(cls)}))
    assert cls.model_validate_json(minimal.model_dump_json()) == minimal


FILTERS = [cls for cls in CONTRACTS if hasattr(cls, "matches")]
SUMMARIES = [cls for cls in CONTRACTS if inspect.ismethod(getattr(cls, "of", None)) and "id" in cls.model_fields]


def record_of(function: Any) -> Any:
    """Return an example of the record that a filter or a summary takes."""
    hints = {name: hint for name, hint in get_type_hints(function).items() if name != "return"}
    [record] = hints.values()
    return example(record)


def test_filters_and_summaries_are_found() -> None:
    assert len(FILTERS) >= 5
    assert len(SUMMARIES) >= 5


@pytest.mark.parametrize("cls", FILTERS, ids=lambda cls: cls.__name__)
def test_an_empty_filter_matches(cls: Any) -> None:
    assert cls().matches(record_of(cls.matches))


@pytest.mark.parametrize("cls", FILTERS, ids=lambda cls: cls.__name__)
def test_every_text_of_a_filter_can_exclude(cls: Any) -> None:
    record = record_of(cls.matches)
    texts = [name for name, field in cls.model_fields.items() if field.annotation == (str | None) and name != "sort"]
    assert [name for name in texts if cls(**{name: "zzz_nothing"}).matches(record)] == []


@pytest.mark.parametrize("cls", SUMMARIES, ids=lambda cls: cls.__name__)
def test_a_summary_has_the_values_of_its_record(cls: Any) -> None:
    record = record_of(cls.of)
    summary = cls.of(record)
    differing = {"links", "layers", "warnings", "quantization"}
    common = (cls.model_fields.keys() & type(record).model_fields.keys()) - differing
    assert {"id", "created_at"} <= common
    assert {name: getattr(summary, name) for name in common} == {name: getattr(record, name) for name in common}
