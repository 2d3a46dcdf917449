from pathlib import Path

import pytest

from benchmarks.operator_coverage import table
from faceter.graphs.operators import SUPPORTED_OPERATORS
from tests.workers.operators.node_cases import EXCEPTIONS, Outcome, run_all
from workers.operators import OPERATORS


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    return list(run_all())


def test_every_case_passes_except_known_failures(outcomes: list[Outcome]) -> None:
    failed = {outcome.case: outcome.fault for outcome in outcomes if outcome.fault}
    assert {case: fault for case, fault in failed.items() if case not in EXCEPTIONS} == {}


def test_every_known_failure_still_fails(outcomes: list[Outcome]) -> None:
    failed = {outcome.case for outcome in outcomes if outcome.fault}
    assert set(EXCEPTIONS) - failed == set()


def test_most_cases_are_run(outcomes: list[Outcome]) -> None:
    assert len(outcomes) > 1500
    assert len({outcome.operator for outcome in outcomes}) > 150


def test_supported_operators_equal_the_table() -> None:
    assert set(OPERATORS) == SUPPORTED_OPERATORS


def test_the_documentation_is_current(outcomes: list[Outcome]) -> None:
    page = Path(__file__).parents[3] / "docs" / "reference" / "operators.md"
    assert page.read_text() == table(outcomes), "run: python -m benchmarks.operator_coverage"
