"""Formulas over concepts: how they are made, read and drawn as trees.

A formula grows by one concept at a time, as the search makes it: ((first op concept) op concept) …
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from faceter.contracts.explanations import FormulaNode, Operator

_WORDS = {Operator.OR: "OR", Operator.AND: "AND", Operator.AND_NOT: "AND NOT"}


@dataclass(frozen=True)
class Concept:
    """A concept as formulas name it."""

    name: str
    """Its name."""
    category: str
    """Its category."""
    neighbors_of: str | None = None
    """For what `neighbors` made of another concept: that one's name."""


@dataclass(frozen=True)
class Formula:
    """A chain of concepts: the first, then each with what joins it to all before it."""

    first: int
    """Number of the first concept."""
    rest: tuple[tuple[Operator, int], ...] = ()
    """Operators and numbers of the concepts that follow."""

    def __len__(self) -> int:
        return 1 + len(self.rest)

    @property
    def concepts(self) -> list[int]:
        """Numbers of its concepts, in order, one that is there twice twice."""
        return [self.first, *(number for _, number in self.rest)]

    def joined(self, operator: Operator, concept: int) -> Formula:
        """Return the formula with one more concept."""
        return Formula(self.first, (*self.rest, (operator, concept)))

    def text(self, concepts: Sequence[Concept]) -> str:
        """Return it in words, such as ``(car OR road) AND NOT dusk``; equal operators in a row need no parentheses."""
        said = concepts[self.first].name
        before: Operator | None = None
        for operator, number in self.rest:
            together = before is None or (operator is before and operator is not Operator.AND_NOT)
            said = f"{said if together else f'({said})'} {_WORDS[operator]} {concepts[number].name}"
            before = operator
        return said

    def tree(self, concepts: Sequence[Concept]) -> FormulaNode:
        """Return it as a tree."""
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
