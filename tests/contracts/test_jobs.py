"""Specifications of jobs: the kind decides the form, and `uses` has every resource they read."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from faceter.contracts.job_progress import JobStatus, Progress
from faceter.contracts.jobs import JobKind, JobSpecification
from tests.contracts.examples import contracts, values_of

SPECIFICATION: TypeAdapter[Any] = TypeAdapter(JobSpecification)
JOBS = {values_of(cls)["kind"]: cls for cls in contracts() if cls.__name__.endswith("Job") and cls.__name__ != "Job"}


def test_each_kind_has_a_specification() -> None:
    assert set(JOBS) == {kind.value for kind in JobKind}


@pytest.mark.parametrize("kind", list(JobKind))
def test_the_kind_decides_the_form(kind: JobKind) -> None:
    parsed = SPECIFICATION.validate_python(values_of(JOBS[kind.value]))
    assert type(parsed) is JOBS[kind.value]
    assert SPECIFICATION.validate_json(SPECIFICATION.dump_json(parsed)) == parsed


@pytest.mark.parametrize("kind", ["", "training", None])
def test_other_kinds_are_refused(kind: Any) -> None:
    with pytest.raises(ValidationError, match="kind"):
        SPECIFICATION.validate_python({**values_of(JOBS["evaluation"]), "kind": kind})


@pytest.mark.parametrize("kind", list(JobKind))
def test_uses_has_every_id_of_the_specification_once(kind: JobKind) -> None:
    """Whatever looks like an id in the JSON is a resource that must not be deleted while the job runs."""
    values = values_of(JOBS[kind.value])
    uses = SPECIFICATION.validate_python(values).uses
    assert len(set(uses)) == len(uses)
    assert set(uses) == set(ids_in(values))


def ids_in(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [id for item in value.values() for id in ids_in(item)]
    if isinstance(value, list):
        return [id for item in value for id in ids_in(item)]
    return [value] if isinstance(value, str) and value[3:4] == "_" and len(value) == 24 else []


def test_drift_uses_the_other_models() -> None:
    values = {**values_of(JOBS["analysis"]), "request": {"kind": "drift", "model_ids": ["mdl_b", "mdl_c", "mdl_b"]}}
    uses = SPECIFICATION.validate_python({**values, "model_id": "mdl_c"}).uses
    assert uses.count("mdl_b") == uses.count("mdl_c") == 1


def test_the_statuses_that_end_a_job() -> None:
    assert {status.value for status in JobStatus if status.ended} == {"succeeded", "failed", "canceled"}


@pytest.mark.parametrize("fraction", [-0.01, 1.01])
def test_progress_is_a_fraction(fraction: float) -> None:
    with pytest.raises(ValidationError):
        Progress.model_validate({"step": "x", "fraction": fraction, "updated_at": "2026-01-01T00:00:00Z"})
