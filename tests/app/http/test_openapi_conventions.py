"""Conventions for every name, value and list of the API."""

import json
import re
from pathlib import Path
from typing import Any

from faceter.contracts.detection_parts import DetectionPreset
from faceter.contracts.preprocessing import PreprocessingPreset
from tests.app.http.openapi_document import fields, operations

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "reference" / "openapi.json"


def test_the_document_in_the_repository_is_current(document: dict[str, Any]) -> None:
    """Written by `faceter openapi > docs/reference/openapi.json`."""
    assert json.loads(DOCUMENT.read_text()) == document


def test_schema_names_are_public(document: dict[str, Any]) -> None:
    names = list(document["components"]["schemas"])
    assert [name for name in names if not re.fullmatch(r"[A-Z][A-Za-z0-9]+", name)] == []
    assert {"ModelPage", "DatasetPage", "JobPage", "UnitPage"} <= set(names)


def test_fields_and_parameters_that_hold_ids_end_in_id(document: dict[str, Any]) -> None:
    """Fields that hold ids are recognized by their examples."""
    id_example = re.compile(r"(mdl|dts|evl|exp|anl|trl|job)_[0-9a-z]{20}")
    named = {name: field for name, field in fields(document) if not name.endswith(".links")}
    for operation, described in operations(document):
        for parameter in described.get("parameters", []):
            named[f"{operation} {parameter['name']}"] = {**parameter["schema"], **parameter}
    for name, field in named.items():
        examples = field.get("examples", [])
        if any(isinstance(example, str) and id_example.fullmatch(example) for example in examples):
            assert name.endswith((".id", "_id")), name
        if any(isinstance(example, list) and id_example.fullmatch(str(example[0])) for example in examples if example):
            assert name.endswith("_ids"), name


def test_values_of_enumerations_are_of_one_style(document: dict[str, Any]) -> None:
    values = {
        value
        for schema in (*document["components"]["schemas"].values(), *(field for _, field in fields(document)))
        for value in (*schema.get("enum", []), *([schema["const"]] if "const" in schema else []))
        if isinstance(value, str)
    }
    domains = {"A", "B"}
    published = {preset.value for preset in (*DetectionPreset, *PreprocessingPreset)}
    assert {value for value in values - domains - published if not re.fullmatch(r"[a-z0-9_]+", value)} == set()


def test_lists_take_up_to_a_thousand_and_give_pages(document: dict[str, Any]) -> None:
    for path, methods in document["paths"].items():
        for parameter in methods.get("get", {}).get("parameters", []):
            if parameter["name"] == "limit":
                assert parameter["schema"]["maximum"] == 1000, path
