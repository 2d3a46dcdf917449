"""Branch and bound, compared with enumeration and with the table."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceter.contracts.explanations import Operator
from tests.references import compositional as reference
from tests.workers.explanation.search.toy_data import (
    OPERATORS,
    PENALTIES,
    SOME_OPERATORS,
    ToyData,
    random_toy_data,
    toy_data,
)
from workers.explanation.search.bounded import BoundedSearch
from workers.explanation.search.formula_table import FormulaTable


@settings(max_examples=60, deadline=None)
@given(data=toy_data(most_concepts=5), operators=SOME_OPERATORS, length=st.integers(1, 3), penalty=PENALTIES)
def test_the_bounded_search_finds_the_best_formula(
    data: ToyData, operators: tuple[Operator, ...], length: int, penalty: float
) -> None:
    bounded = BoundedSearch(data.patterns, operators, length, penalty)
    for unit, fires in zip(data.units, data.fires, strict=True):
        result = bounded.search(fires, [])
        every = reference.every_formula(unit, list(data.concepts), [operator.value for operator in operators], length)
        best = result.by_length[-1]
        assert result.optimal
        assert best.score * penalty ** (len(best.formula) - 1) == max(
            found.score * penalty ** (found.length - 1) for found in every
        )
        assert best.score == reference.iou(unit, data.mask(best.formula))


def test_the_bounded_search_agrees_with_the_table_for_many_concepts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("workers.explanation.search.formula_table._MAX_CREATED", 10**7)
    data = random_toy_data(11, concepts=30, pixels=3000, units=6, share=0.15)
    table = FormulaTable.build(data.patterns, OPERATORS, 3)
    bounded = BoundedSearch(data.patterns, OPERATORS, 3)
    assert table is not None
    for fires, best in zip(data.fires, table.best(data.fires), strict=True):
        assert bounded.search(fires, []).by_length[-1].score == best[-1].score


def test_an_interrupted_search_is_not_optimal() -> None:
    data = random_toy_data(11, concepts=30, pixels=3000, units=1, share=0.15)
    interrupted = BoundedSearch(data.patterns, OPERATORS, 3, max_joined=0)
    result = interrupted.search(data.fires[0], [])
    assert not result.optimal
    best = BoundedSearch(data.patterns, OPERATORS, 3).search(data.fires[0], []).by_length[-1].score
    assert result.by_length[-1].score <= best <= result.remaining_bound
    assert result.by_length[1].score == reference.iou(data.units[0], data.mask(result.by_length[1].formula))


@pytest.mark.parametrize("operators", [OPERATORS, OPERATORS[::2], OPERATORS[:2], OPERATORS[2:], OPERATORS[1:]])
def test_the_bound_is_admissible_for_every_set_of_operators(operators: tuple[Operator, ...]) -> None:
    for seed in range(12):
        data = random_toy_data(100 + seed, concepts=7, pixels=250, units=6, share=0.4)
        table = FormulaTable.build(data.patterns, operators, 3)
        bounded = BoundedSearch(data.patterns, operators, 3)
        assert table is not None
        for fires, best in zip(data.fires, table.best(data.fires), strict=True):
            assert bounded.search(fires, []).by_length[-1].score == best[-1].score


@pytest.mark.parametrize("max_joined", [0, 32, 320])
def test_no_formula_exceeds_the_remaining_bound(max_joined: int) -> None:
    data = random_toy_data(12, concepts=20, pixels=2000, units=8, share=0.2)
    whole, part = (BoundedSearch(data.patterns, OPERATORS, 3, max_joined=most) for most in (10**9, max_joined))
    for fires in data.fires:
        best, interrupted = whole.search(fires, []), part.search(fires, [])
        assert best.optimal
        assert best.remaining_bound == 0
        assert best.by_length[-1].score <= max(interrupted.by_length[-1].score, interrupted.remaining_bound)
