"""Which search is done, and what is said of how good its answer is."""

import numpy as np
import pytest

from faceter.contracts.explanations import ExplanationRequest
from tests.workers.explanation.worlds import World, random_world
from workers.explanation import bounded_search, formula_table
from workers.explanation.search import FormulaSearch, Searched


def searched(world: World, **said: object) -> list[Searched]:
    request = ExplanationRequest.model_validate({"dataset_id": "d", "layer": "l", **said})
    candidates = world.patterns.sums(world.fires) > 0
    return list(FormulaSearch(world.patterns, request).search(world.fires, candidates))


@pytest.fixture
def no_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formula_table, "_MOST_MADE", 0)


WORLD = random_world(21, concepts=10, pixels=500, units=12)


def test_a_beam_knows_whether_it_is_optimal_where_all_formulas_can_be_listed() -> None:
    beam, best = searched(WORLD, beam_size=1), searched(WORLD, search="optimal")
    assert {one.optimal for one in beam} == {True, False}
    for one, other in zip(beam, best, strict=True):
        assert other.optimal
        assert one.optimal == (one.levels[-1].score == other.levels[-1].score)
        assert one.bound == other.levels[-1].score
        assert one.levels[-1].score <= one.bound <= one.ceiling + 1e-12


@pytest.mark.usefixtures("no_table")
def test_too_many_to_list_are_searched_with_a_bound() -> None:
    bounded = searched(WORLD, search="optimal")
    assert all(one.optimal for one in bounded)
    assert searched(WORLD)[0].optimal is None
    beam = searched(WORLD)
    for one, other in zip(beam, bounded, strict=True):
        assert one.levels[-1].score <= other.levels[-1].score
        assert one.bound == one.ceiling


def test_the_bound_gives_what_the_table_does(monkeypatch: pytest.MonkeyPatch) -> None:
    table = searched(WORLD, search="optimal", complexity_penalty=0.9)
    monkeypatch.setattr(formula_table, "_MOST_MADE", 0)
    bounded = searched(WORLD, search="optimal", complexity_penalty=0.9)
    for one, other in zip(table, bounded, strict=True):
        ranks = [found.levels[-1].score * 0.9 ** (len(found.levels[-1].formula) - 1) for found in (one, other)]
        assert ranks[0] == ranks[1]


@pytest.mark.usefixtures("no_table")
def test_where_nothing_is_known_it_says_so_with_the_ceiling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_search, "MOST_CONCEPTS", 3)
    for one in searched(WORLD, search="optimal", max_length=4):
        assert one.optimal is None or one.levels[-1].score >= one.ceiling
        assert one.bound == one.ceiling


def test_a_unit_that_fires_only_where_there_is_no_concept_has_no_formula() -> None:
    concepts = np.array([[1, 1, 0, 0]], bool)
    world = World(concepts, np.array([[0, 0, 1, 1], [1, 0, 1, 1]], bool))
    for search in ("beam", "optimal"):
        nothing, some = searched(world, search=search)
        assert nothing.levels == []
        assert nothing.ceiling == 0
        assert some.levels[-1].score == 0.25


def test_neighbors_alone_join_nothing() -> None:
    assert [len(one.levels[-1].formula) for one in searched(WORLD, operators=["neighbors"])] == [1] * 12
