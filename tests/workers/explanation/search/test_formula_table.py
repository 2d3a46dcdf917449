"""The table of all formulas, compared with enumeration on pixel masks."""

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
from workers.explanation.search.formula_table import FormulaTable


@settings(max_examples=60, deadline=None)
@given(data=toy_data(most_concepts=4), operators=SOME_OPERATORS, length=st.integers(1, 3), penalty=PENALTIES)
def test_the_table_finds_the_best_formula(
    data: ToyData, operators: tuple[Operator, ...], length: int, penalty: float
) -> None:
    table = FormulaTable.build(data.patterns, operators, length)
    assert table is not None
    for unit, by_length in zip(data.units, table.best(data.fires, penalty), strict=True):
        every = reference.every_formula(unit, list(data.concepts), [operator.value for operator in operators], length)
        for most, scored in enumerate(by_length, 1):
            ranks = [found.score * penalty ** (found.length - 1) for found in every if found.length <= most]
            assert scored.score * penalty ** (len(scored.formula) - 1) == max(ranks)
            assert scored.score == reference.iou(unit, data.mask(scored.formula))
            assert len(scored.formula) <= most


def test_a_table_that_would_be_too_large_is_not_built() -> None:
    data = random_toy_data(1, concepts=60, pixels=4000, units=1)
    assert FormulaTable.build(data.patterns, OPERATORS, 6) is None
