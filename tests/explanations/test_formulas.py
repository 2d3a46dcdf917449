"""Formulas: text and tree are equivalent to the chain."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceter.contracts.explanations import Operator
from faceter.contracts.units import FormulaNode
from faceter.explanations.formulas import Concept, Formula, concepts_of

CONCEPTS = [Concept(name, "object") for name in "abcd"]
OR, AND, AND_NOT = Operator.OR, Operator.AND, Operator.AND_NOT

BITS = {"a": 0b0101_0011, "b": 0b0011_0101, "c": 0b1100_1001, "d": 0b0110_1110}
"""Where each concept is, one bit a place."""
ALL = 0b1111_1111

formulas = st.builds(
    lambda first, rest: Formula(first, tuple(rest)),
    st.integers(0, 3),
    st.lists(st.tuples(st.sampled_from([OR, AND, AND_NOT]), st.integers(0, 3)), max_size=9),
)


def joined(operator: Operator | None, left: int, right: int) -> int:
    return {OR: left | right, AND: left & right, AND_NOT: left & ~right & ALL}[operator or OR]


def chain(formula: Formula) -> int:
    """Return where a formula holds."""
    value = BITS[CONCEPTS[formula.first].name]
    for operator, number in formula.rest:
        value = joined(operator, value, BITS[CONCEPTS[number].name])
    return value


def tree_value(node: FormulaNode) -> int:
    if node.concept is not None:
        assert node.operator is None
        assert not node.parts
        return BITS[node.concept]
    left, right = node.parts
    return joined(node.operator, tree_value(left), tree_value(right))


@pytest.mark.parametrize(
    ("rest", "text"),
    [
        ((), "a"),
        (((OR, 1),), "a OR b"),
        (((OR, 1), (OR, 2), (OR, 3)), "a OR b OR c OR d"),
        (((AND, 1), (AND, 2)), "a AND b AND c"),
        (((OR, 1), (AND_NOT, 2)), "(a OR b) AND NOT c"),
        (((AND_NOT, 1), (AND_NOT, 2)), "(a AND NOT b) AND NOT c"),
        (((AND, 1), (OR, 2), (OR, 3)), "(a AND b) OR c OR d"),
        (((OR, 1), (AND, 2), (OR, 3)), "((a OR b) AND c) OR d"),
    ],
)
def test_text(rest: tuple[tuple[Operator, int], ...], text: str) -> None:
    assert Formula(0, rest).text(CONCEPTS) == text


@given(formulas)
def test_the_text_is_equivalent_to_the_formula(formula: Formula) -> None:
    text = formula.text(CONCEPTS).replace("AND NOT", "& ~").replace("AND", "&").replace("OR", "|")
    assert eval(text, {}, dict(BITS)) & ALL == chain(formula)


@given(formulas)
def test_the_tree_is_equivalent_to_the_formula(formula: Formula) -> None:
    tree = formula.tree(CONCEPTS)
    assert tree_value(tree) == chain(formula)
    assert concepts_of(tree) == [CONCEPTS[number].name for number in formula.concepts]
    assert FormulaNode.model_validate_json(tree.model_dump_json()) == tree


@given(formulas, st.sampled_from([OR, AND, AND_NOT]), st.integers(0, 3))
def test_a_formula_grows_by_one_concept(formula: Formula, operator: Operator, concept: int) -> None:
    longer = formula.joined(operator, concept)
    assert len(longer) == len(formula) + 1
    assert longer.concepts == [*formula.concepts, concept]
    assert chain(longer) == joined(operator, chain(formula), BITS[CONCEPTS[concept].name])


def test_neighbors_are_a_unary_operator() -> None:
    concepts = [Concept("pre:tok:dog", "pre:tok"), Concept("NEIGHBORS(pre:tok:cat)", "n", neighbors_of="pre:tok:cat")]
    formula = Formula(0, ((OR, 1),))
    assert formula.text(concepts) == "pre:tok:dog OR NEIGHBORS(pre:tok:cat)"
    tree = formula.tree(concepts)
    assert tree.parts[1].operator is Operator.NEIGHBORS
    assert concepts_of(tree) == ["pre:tok:dog", "pre:tok:cat"]
