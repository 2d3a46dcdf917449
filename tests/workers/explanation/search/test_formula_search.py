"""Which search is used, and what is known about its result."""

import numpy as np
import pytest

from faceter.contracts.explanations import ExplanationRequest
from tests.workers.explanation.search.toy_data import ToyData, random_toy_data
from workers.explanation.search import formula_search, formula_table
from workers.explanation.search.formula_search import FormulaSearch, SearchResult


def search_results(data: ToyData, **options: object) -> list[SearchResult]:
    request = ExplanationRequest.model_validate({"dataset_id": "d", "layer": "l", **options})
    candidates = data.patterns.sums(data.fires) > 0
    return list(FormulaSearch(data.patterns, request).search(data.fires, candidates))


@pytest.fixture
def no_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formula_table, "_MAX_CREATED", 0)


DATA = random_toy_data(21, concepts=10, pixels=500, units=12)


def test_a_beam_result_is_compared_with_the_table() -> None:
    beam, best = search_results(DATA, beam_size=1), search_results(DATA, search="optimal")
    assert {one.optimal for one in beam} == {True, False}
    for one, other in zip(beam, best, strict=True):
        assert other.optimal
        assert one.optimal == (one.by_length[-1].score == other.by_length[-1].score)
        assert one.bound == other.by_length[-1].score
        assert one.by_length[-1].score <= one.bound <= one.ceiling + 1e-12


@pytest.mark.usefixtures("no_table")
def test_without_a_table_the_search_is_bounded() -> None:
    bounded = search_results(DATA, search="optimal")
    assert all(one.optimal for one in bounded)
    assert search_results(DATA)[0].optimal is None
    beam = search_results(DATA)
    for one, other in zip(beam, bounded, strict=True):
        assert one.by_length[-1].score <= other.by_length[-1].score
        assert one.bound == one.ceiling


def test_bounded_search_and_table_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    table = search_results(DATA, search="optimal", complexity_penalty=0.9)
    monkeypatch.setattr(formula_table, "_MAX_CREATED", 0)
    bounded = search_results(DATA, search="optimal", complexity_penalty=0.9)
    for one, other in zip(table, bounded, strict=True):
        ranks = [result.by_length[-1].score * 0.9 ** (len(result.by_length[-1].formula) - 1) for result in (one, other)]
        assert ranks[0] == ranks[1]


@pytest.mark.usefixtures("no_table")
def test_without_table_and_bound_the_ceiling_is_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formula_search, "MAX_CONCEPTS", 3)
    for one in search_results(DATA, search="optimal", max_length=4):
        assert one.optimal is None or one.by_length[-1].score >= one.ceiling
        assert one.bound == one.ceiling


def test_a_unit_that_fires_only_where_there_is_no_concept_has_no_formula() -> None:
    concepts = np.array([[1, 1, 0, 0]], bool)
    data = ToyData(concepts, np.array([[0, 0, 1, 1], [1, 0, 1, 1]], bool))
    for search in ("beam", "optimal"):
        nothing, some = search_results(data, search=search)
        assert nothing.by_length == []
        assert nothing.ceiling == 0
        assert some.by_length[-1].score == 0.25


def test_neighbors_alone_give_single_concepts() -> None:
    assert [len(one.by_length[-1].formula) for one in search_results(DATA, operators=["neighbors"])] == [1] * 12
