"""Records written by API v1 are fixtures: every later version must read them without loss.

Never change a file in `records/v1`; a new version adds a folder beside it, and a migration if it cannot read the old.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from faceter.contracts.base import Provenance, StoredRecord
from faceter.contracts.errors import Problem
from faceter.contracts.jobs import JobKind, JobResult, JobSpecification, Progress
from faceter.resources import RESOURCES, Resource

V1 = Path(__file__).parent / "records" / "v1"


def preserved(before: Any, after: Any) -> bool:
    """Return whether a read value contains the whole stored value; later versions may add fields."""
    if isinstance(before, dict):
        return isinstance(after, dict) and all(
            name in after and preserved(before[name], after[name]) for name in before
        )
    if isinstance(before, list):
        return isinstance(after, list) and len(before) == len(after) and all(map(preserved, before, after))
    return bool(before == after)


def read(contract: type[Any], value: Any) -> Any:
    return json.loads(contract.model_validate_json(json.dumps(value)).model_dump_json())


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.name)
def test_every_stored_record_is_read_without_loss(resource: Resource[StoredRecord]) -> None:
    paths = [*V1.glob(f"{resource.name}.json"), *V1.glob(f"{resource.name}-*.json")]
    assert paths, "a new resource needs a fixture of its first record"
    for path in paths:
        stored = json.loads(path.read_text())
        assert preserved(stored, read(resource.contract, stored)), path.name


@pytest.mark.parametrize("kind", JobKind)
def test_every_stored_job_is_read_without_loss(kind: JobKind) -> None:
    stored = json.loads((V1 / f"job-{kind}.json").read_text())
    specification = TypeAdapter[Any](JobSpecification).validate_python(stored["specification"])
    assert specification.kind is kind
    assert preserved(stored["specification"], json.loads(specification.model_dump_json()))
    parts = {"progress": Progress, "result": JobResult, "error": Problem, "provenance": Provenance}
    for name, contract in parts.items():
        assert preserved(stored["meta"][name], read(contract, stored["meta"][name])), name


def test_a_lost_field_is_detected() -> None:
    assert not preserved({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]})
    assert not preserved({"a": 1}, {})
    assert preserved({"a": 1}, {"a": 1, "new": 2})
