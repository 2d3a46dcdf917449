"""Searches for formulas against masks of pixels and against all formulas there are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceter.contracts.explanations import Operator
from tests.references import compositional as reference
from tests.workers.explanation.worlds import OPERATORS, World, random_world, text, worlds
from workers.explanation.beam import BeamSettings, beam_search
from workers.explanation.bounded_search import BoundedSearch
from workers.explanation.formula_table import FormulaTable
from workers.explanation.patterns import Patterns
from workers.explanation.scoring import ceilings

some_operators = st.lists(st.sampled_from(OPERATORS), min_size=1, unique=True).map(
    lambda chosen: tuple(operator for operator in OPERATORS if operator in chosen)
)
penalties = st.sampled_from([1.0, 0.95, 0.5])


def beams(world: World, **said: object) -> list[list[tuple[str, float]]]:
    candidates = (world.patterns.sums(world.fires) > 0) | True
    found = beam_search(world.patterns, world.fires, candidates, BeamSettings(**said))  # type: ignore[arg-type]
    return [[(text(level.formula), level.score) for level in levels] for levels in found]


@settings(max_examples=60, deadline=None)
@given(world=worlds(), operators=some_operators, beam=st.integers(1, 6), length=st.integers(1, 4), penalty=penalties)
def test_beam_search_is_the_published_procedure(
    world: World, operators: tuple[Operator, ...], beam: int, length: int, penalty: float
) -> None:
    expected = [
        [
            (found.text, found.score)
            for found in reference.beam_search(
                unit,
                list(world.concepts),
                range(len(world.concepts)),
                [operator.value for operator in operators],
                beam,
                length,
                penalty,
            )
        ]
        for unit in world.units
    ]
    assert beams(world, operators=operators, beam_size=beam, max_length=length, penalty=penalty) == expected


def test_beam_search_looks_only_at_candidates() -> None:
    world = random_world(3, concepts=6, pixels=300, units=4)
    candidates = np.zeros((4, 6), bool)
    candidates[:, [1, 4]] = True
    for unit, levels in zip(world.units, beam_search(world.patterns, world.fires, candidates), strict=True):
        expected = reference.beam_search(unit, list(world.concepts), [1, 4])
        assert [(text(level.formula), level.score) for level in levels] == [(one.text, one.score) for one in expected]


def test_of_equal_formulas_the_first_made_stays() -> None:
    twins = World(np.array([[1, 1, 0, 0], [1, 1, 0, 0]], bool), np.array([[1, 1, 0, 0]], bool))
    assert beams(twins, max_length=3) == [[("0", 1.0), ("0", 1.0), ("0", 1.0)]]


def test_beam_search_is_the_same_however_many_units_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    world = random_world(5, concepts=8, pixels=400, units=7)
    together = beams(world)
    monkeypatch.setattr("workers.explanation.beam._BLOCK_BYTES", 1)
    assert beams(world) == together


def test_sparse_sums_are_the_dense_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    world = random_world(6, concepts=9, pixels=500, units=5)
    dense = beams(world)
    monkeypatch.setattr("workers.explanation.patterns._DENSE_CELLS", 0)
    assert beams(world) == dense


@settings(max_examples=60, deadline=None)
@given(world=worlds(most_concepts=4), operators=some_operators, length=st.integers(1, 3), penalty=penalties)
def test_the_table_finds_the_best_of_all_formulas(
    world: World, operators: tuple[Operator, ...], length: int, penalty: float
) -> None:
    table = FormulaTable.build(world.patterns, operators, length)
    assert table is not None
    for unit, levels in zip(world.units, table.best(world.fires, penalty), strict=True):
        every = reference.every_formula(unit, list(world.concepts), [operator.value for operator in operators], length)
        for most, level in enumerate(levels, 1):
            ranks = [found.score * penalty ** (found.length - 1) for found in every if found.length <= most]
            assert level.score * penalty ** (len(level.formula) - 1) == max(ranks)
            assert level.score == reference.iou(unit, world.mask(level.formula))
            assert len(level.formula) <= most


@settings(max_examples=60, deadline=None)
@given(world=worlds(most_concepts=5), operators=some_operators, length=st.integers(1, 3), penalty=penalties)
def test_the_bounded_search_finds_the_best_of_all_formulas(
    world: World, operators: tuple[Operator, ...], length: int, penalty: float
) -> None:
    bounded = BoundedSearch(world.patterns, operators, length, penalty)
    for unit, fires in zip(world.units, world.fires, strict=True):
        proven = bounded.search(fires, [])
        every = reference.every_formula(unit, list(world.concepts), [operator.value for operator in operators], length)
        best = proven.found[-1]
        assert proven.optimal
        assert best.score * penalty ** (len(best.formula) - 1) == max(
            found.score * penalty ** (found.length - 1) for found in every
        )
        assert best.score == reference.iou(unit, world.mask(best.formula))


def test_the_bounded_search_rules_out_nearly_everything_and_still_agrees_with_the_table(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("workers.explanation.formula_table._MOST_MADE", 10**7)
    world = random_world(11, concepts=30, pixels=3000, units=6, share=0.15)
    table = FormulaTable.build(world.patterns, OPERATORS, 3)
    bounded = BoundedSearch(world.patterns, OPERATORS, 3)
    assert table is not None
    for fires, best in zip(world.fires, table.best(world.fires), strict=True):
        assert bounded.search(fires, []).found[-1].score == best[-1].score


def test_a_search_that_was_not_finished_says_so() -> None:
    world = random_world(11, concepts=30, pixels=3000, units=1, share=0.15)
    hasty = BoundedSearch(world.patterns, OPERATORS, 3, most_joined=0)
    proven = hasty.search(world.fires[0], [])
    assert not proven.optimal
    best = BoundedSearch(world.patterns, OPERATORS, 3).search(world.fires[0], []).found[-1].score
    assert proven.found[-1].score <= best <= proven.left
    assert proven.found[1].score == reference.iou(world.units[0], world.mask(proven.found[1].formula))


@pytest.mark.parametrize("operators", [OPERATORS, OPERATORS[::2], OPERATORS[:2], OPERATORS[2:], OPERATORS[1:]])
def test_a_bound_leaves_out_nothing_that_any_operator_could_make_of_a_pair(operators: tuple[Operator, ...]) -> None:
    for seed in range(12):
        world = random_world(100 + seed, concepts=7, pixels=250, units=6, share=0.4)
        table = FormulaTable.build(world.patterns, operators, 3)
        bounded = BoundedSearch(world.patterns, operators, 3)
        assert table is not None
        for fires, best in zip(world.fires, table.best(world.fires), strict=True):
            assert bounded.search(fires, []).found[-1].score == best[-1].score


@pytest.mark.parametrize("most_joined", [0, 32, 320])
def test_no_formula_exceeds_what_is_said_of_those_not_looked_at(most_joined: int) -> None:
    world = random_world(12, concepts=20, pixels=2000, units=8, share=0.2)
    whole, part = (BoundedSearch(world.patterns, OPERATORS, 3, most_joined=most) for most in (10**9, most_joined))
    for fires in world.fires:
        best, hasty = whole.search(fires, []), part.search(fires, [])
        assert best.optimal
        assert best.left == 0
        assert best.found[-1].score <= max(hasty.found[-1].score, hasty.left)


def test_a_table_that_would_be_too_large_is_not_begun() -> None:
    world = random_world(1, concepts=60, pixels=4000, units=1)
    assert FormulaTable.build(world.patterns, OPERATORS, 6) is None


@settings(max_examples=60, deadline=None)
@given(world=worlds(most_concepts=3))
def test_the_ceiling_is_the_best_of_all_sets_of_patterns(world: World) -> None:
    patterns = world.patterns
    reachable = np.flatnonzero(~patterns.blank)
    for unit, found in zip(world.units, ceilings(patterns, world.fires), strict=True):
        assert found == pytest.approx(reference.ceiling(unit, world.pattern_of_pixels, reachable.tolist()), abs=1e-12)


def test_the_ceiling_is_reached_when_length_allows() -> None:
    world = random_world(2, concepts=3, pixels=60, units=8)
    table = FormulaTable.build(world.patterns, OPERATORS, 10)
    assert table is not None
    best = np.array([levels[-1].score for levels in table.best(world.fires)])
    ceiling = ceilings(world.patterns, world.fires)
    assert (best <= ceiling + 1e-12).all()
    assert (best >= ceiling - 1e-12).mean() > 0.5


def test_patterns_without_a_concept_are_out_of_reach() -> None:
    patterns = Patterns.of([[], [0]], [10, 10], 1)
    assert ceilings(patterns, np.array([[10.0, 0.0], [10.0, 10.0]])).tolist() == [0.0, 0.5]
