"""Logical formulas over concepts (Mu & Andreas 2020).

The search extends a formula by one concept at a time, so it is a chain: ((first op concept) op concept) …
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from faceter.contracts.explanations import Operator
from faceter.contracts.units import FormulaNode

_WORDS = {Operator.OR: "OR", Operator.AND: "AND", Operator.AND_NOT: "AND NOT"}


@dataclass(frozen=True)
class Concept:
    """A concept of a probe dataset."""

    name: str
    """Its name."""
    category: str
    """Its category."""
    neighbors_of: str | None = None
    """For NEIGHBORS(w): the name of w."""


@dataclass(frozen=True)
class Formula:
    """A chain of concepts, each joined by an operator to the formula before it."""

    first: int
    """Number of the first concept."""
    rest: tuple[tuple[Operator, int], ...] = ()
    """Operators and numbers of the further concepts."""

    def __len__(self) -> int:
        return 1 + len(self.rest)

    @property
    def concepts(self) -> list[int]:
        """Numbers of its concepts in order, with repetitions."""
        return [self.first, *(number for _, number in self.rest)]

    def joined(self, operator: Operator, concept: int) -> Formula:
        """Return the formula with one more concept."""
        return Formula(self.first, (*self.rest, (operator, concept)))

    def text(self, concepts: Sequence[Concept]) -> str:
        """Return the formula as text, such as ``(car OR road) AND NOT dusk``; runs of OR or AND have no parentheses."""
        text = concepts[self.first].name
        before: Operator | None = None
        for operator, number in self.rest:
            flat = before is None or (operator is before and operator is not Operator.AND_NOT)
            text = f"{text if flat else f'({text})'} {_WORDS[operator]} {concepts[number].name}"
            before = operator
        return text

    def tree(self, concepts: Sequence[Concept]) -> FormulaNode:
        """Return the formula as a binary tree."""
        node = _leaf(concepts[self.first])
        for operator, number in self.rest:
            node = FormulaNode(operator=operator, parts=[node, _leaf(concepts[number])])
        return node


def _leaf(concept: Concept) -> FormulaNode:
    if concept.neighbors_of is not None:
        return FormulaNode(operator=Operator.NEIGHBORS, parts=[FormulaNode(concept=concept.neighbors_of)])
    return FormulaNode(concept=concept.name)


def concepts_of(tree: FormulaNode) -> list[str]:
    """Return the names of the concepts in a tree, from left to right."""
    if tree.concept is not None:
        return [tree.concept]
    return [name for part in tree.parts for name in concepts_of(part)]
