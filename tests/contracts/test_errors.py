"""Problem documents (RFC 9457): stable kinds, and errors that become documents."""

import re
from typing import Any

import pytest

from faceter.contracts.errors import FaceterError, FieldProblem, Problem, ProblemKind


def test_slugs_are_unique() -> None:
    slugs = [kind.value.slug for kind in ProblemKind]
    assert sorted(set(slugs)) == sorted(slugs)
    assert len({kind.type for kind in ProblemKind}) == len(ProblemKind)


@pytest.mark.parametrize("kind", ProblemKind)
def test_a_kind_has_a_slug_a_status_and_a_title(kind: ProblemKind) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", kind.value.slug)
    assert kind.type == f"/problems/{kind.value.slug}"
    assert 400 <= kind.status < 600
    assert kind.title[0].isupper()
    assert not kind.title.endswith(".")


def test_titles_are_unique() -> None:
    assert len({kind.title for kind in ProblemKind}) == len(ProblemKind)


@pytest.mark.parametrize("kind", ProblemKind)
def test_an_error_becomes_a_document(kind: ProblemKind) -> None:
    problem = FaceterError(kind, "What happened.").problem("/v1/models")
    assert (problem.type, problem.status, problem.title) == (kind.type, kind.status, kind.title)
    assert (problem.detail, problem.instance, problem.errors) == ("What happened.", "/v1/models", [])
    assert Problem.model_validate_json(problem.model_dump_json()) == problem


def test_a_field_at_fault_is_named_with_the_detail() -> None:
    error = FaceterError(ProblemKind.INVALID_METADATA, "Too short.", field="metadata.labels")
    assert error.errors == [FieldProblem(field="metadata.labels", message="Too short.")]
    assert str(error) == "Too short."


def test_several_fields_override_the_single_one() -> None:
    several = [FieldProblem(field="a", message="x"), FieldProblem(field="b", message="y")]
    assert FaceterError(ProblemKind.INVALID_REQUEST, "Wrong.", field="c", errors=several).errors == several


def test_extension_members_are_part_of_the_document() -> None:
    extra: dict[str, Any] = {"used_by": ["job_a"], "limit": 3}
    error = FaceterError(ProblemKind.RESOURCE_IN_USE, "In use.", retry_after=7, **extra)
    document = error.problem().model_dump()
    assert {name: document[name] for name in extra} == extra
    assert error.retry_after == 7
    assert Problem.model_validate_json(error.problem().model_dump_json()).model_dump() == document


def test_a_field_is_added_to_errors_of_the_request_only() -> None:
    error = FaceterError(ProblemKind.DATASET_MISMATCH, "Does not fit.", retry_after=2, found=5)
    named = error.at("dataset_id")
    assert [problem.field for problem in named.errors] == ["dataset_id"]
    assert (named.kind, named.detail, named.retry_after, named.extra) == (error.kind, error.detail, 2, {"found": 5})
    assert named.at("model_id") is named, "a field is there already"
    missing = FaceterError(ProblemKind.BLOB_MISSING, "Gone.")
    assert missing.at("dataset_id") is missing, "not an error of the request"
