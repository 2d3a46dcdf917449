"""Exhaustive search where there are few concepts: all formulas up to a length as vectors over patterns.

A formula's vector does not depend on the unit, so one table serves all units: one matrix product scores it. A formula
whose vector an earlier or shorter one has is left out, with all its extensions: they are extensions of that one too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.explanations import Operator
from faceter.explanations.formulas import Formula
from workers.explanation.search.beam import ScoredFormula
from workers.explanation.search.patterns import Floats, Integers, Patterns
from workers.explanation.search.scoring import iou

Words = NDArray[np.uint64]

MAX_FORMULAS = 400_000
"""Most formulas of a table."""

_MAX_CREATED = 3_000_000
"""Most formulas of one length before duplicates are removed."""

_BLOCK_BYTES = 2**26
_WORD = 64


@dataclass(frozen=True)
class _FormulasOfLength:
    """The distinct formulas of one length."""

    vectors: Words
    """Packed bits over patterns, uint64 [n, words]."""
    parents: Integers
    """Positions among the formulas one shorter, int64 [n]; 0 for single concepts."""
    operators: Integers
    """Positions in the operators of the table, int64 [n]."""
    concepts: Integers
    """int64 [n]."""


@dataclass(frozen=True)
class FormulaTable:
    """All distinct formulas up to a length."""

    patterns: Patterns
    operators: tuple[Operator, ...]
    by_length: list[_FormulasOfLength]

    @classmethod
    def build(cls, patterns: Patterns, operators: Sequence[Operator], max_length: int) -> FormulaTable | None:
        """Return the table, or None where it would be too large.

        Args:
            patterns: P patterns.
            operators: In the order in which formulas are created.
            max_length: Most concepts of a formula.
        """
        count = patterns.concept_count
        if count * len(patterns) > _MAX_CREATED:
            return None
        concepts = _pack(patterns.concept_vectors(np.arange(count)))
        zeros = np.zeros(count, np.int64)
        keep = _first_of_each(concepts)
        by_length = [_FormulasOfLength(concepts[keep], zeros[: len(keep)], zeros[: len(keep)], keep)]
        seen = concepts[keep]
        for _ in range(1, max_length):
            if len(by_length[-1].vectors) * count * len(operators) * max(1, concepts.shape[1] // 2) > _MAX_CREATED:
                return None
            longer = _extended(by_length[-1], concepts, operators, seen)
            seen = np.concatenate([seen, longer.vectors])
            if len(seen) > MAX_FORMULAS:
                return None
            by_length.append(longer)
        return cls(patterns, tuple(operators), by_length)

    def __len__(self) -> int:
        return sum(len(formulas.vectors) for formulas in self.by_length)

    def best(self, fires: Floats, penalty: float = 1.0) -> list[list[ScoredFormula]]:
        """Return for each unit the best formula of at most 1, 2, … concepts.

        Args:
            fires: u, pixels of each pattern where the unit fires, float64 [U, P]; each unit fires somewhere.
            penalty: Formulas are ranked by IoU · penalty^(length − 1).
        """
        units = np.arange(len(fires))
        firings = fires.sum(axis=1)
        best_rank = np.full(len(fires), -1.0)
        best: list[tuple[int, int]] = [(0, 0)] * len(fires)
        scores = np.zeros(len(fires))
        best_by_length: list[list[ScoredFormula]] = [[] for _ in units]
        for number, formulas in enumerate(self.by_length):
            if len(formulas.vectors):
                ious, places = self._best_of_length(formulas, fires, firings)
                ranks = ious * penalty**number
                for unit in np.flatnonzero(ranks > best_rank):
                    best_rank[unit], scores[unit] = ranks[unit], ious[unit]
                    best[unit] = (number, int(places[unit]))
            for unit in units:
                best_by_length[unit].append(ScoredFormula(self._formula(*best[unit]), float(scores[unit])))
        return best_by_length

    def _best_of_length(self, formulas: _FormulasOfLength, fires: Floats, firings: Floats) -> tuple[Floats, Integers]:
        """Return for each unit the highest IoU among formulas of one length, and the first formula that has it."""
        weights = self.patterns.weights.astype(np.float64)
        size = max(1, _BLOCK_BYTES // (8 * (len(self.patterns) + len(fires))))
        best, places = np.full(len(fires), -1.0), np.zeros(len(fires), np.int64)
        both = np.concatenate([fires, weights[None]]).T
        for start in range(0, len(formulas.vectors), size):
            bits = _unpack(formulas.vectors[start : start + size], len(self.patterns))
            counts = bits.astype(np.float64) @ both
            scores = iou(counts[:, :-1], counts[:, -1:], firings)
            first = scores.argmax(axis=0)
            block_best = scores[first, np.arange(len(fires))]
            better = block_best > best
            best[better], places[better] = block_best[better], first[better] + start
        return best, places

    def _formula(self, number: int, place: int) -> Formula:
        rest: list[tuple[Operator, int]] = []
        while number > 0:
            formulas = self.by_length[number]
            rest.append((self.operators[formulas.operators[place]], int(formulas.concepts[place])))
            place, number = int(formulas.parents[place]), number - 1
        return Formula(int(self.by_length[0].concepts[place]), tuple(reversed(rest)))


def _extended(
    shorter: _FormulasOfLength, concepts: Words, operators: Sequence[Operator], seen: Words
) -> _FormulasOfLength:
    """Return the formulas with one more concept, in order of creation, whose vectors are not among ``seen``."""
    parent, concept, operator = (
        grid.reshape(-1)
        for grid in np.meshgrid(
            np.arange(len(shorter.vectors)), np.arange(len(concepts)), np.arange(len(operators)), indexing="ij"
        )
    )
    created = np.empty((len(parent), concepts.shape[1]), np.uint64)
    for number, joins in enumerate(operators):
        these = operator == number
        left, right = shorter.vectors[parent[these]], concepts[concept[these]]
        if joins is Operator.OR:
            created[these] = left | right
        else:
            created[these] = left & (right if joins is Operator.AND else ~right)
    keep = _first_of_each(np.concatenate([seen, created]))
    keep = keep[keep >= len(seen)] - len(seen)
    keep = keep[created[keep].any(axis=1)]
    return _FormulasOfLength(created[keep], parent[keep], operator[keep], concept[keep])


def _first_of_each(vectors: Words) -> Integers:
    """Return the positions of the first occurrence of each distinct vector, ascending."""
    order = np.lexsort(vectors.T[::-1])
    sorted_vectors = vectors[order]
    new = np.ones(len(order), np.bool_)
    new[1:] = (sorted_vectors[1:] != sorted_vectors[:-1]).any(axis=1)
    return np.sort(order[new])


def _pack(bits: NDArray[np.bool_]) -> Words:
    """Pack bits [n, P] into words, uint64 [n, words], padded with 0."""
    words = -(-bits.shape[1] // _WORD)
    packed = np.zeros((len(bits), words * _WORD // 8), np.uint8)
    packed_bytes = np.packbits(bits, axis=1)
    packed[:, : packed_bytes.shape[1]] = packed_bytes
    return packed.view(np.uint64)


def _unpack(vectors: Words, count: int) -> NDArray[np.uint8]:
    """Unpack words into bits, uint8 [n, count]."""
    return np.unpackbits(np.ascontiguousarray(vectors).view(np.uint8), axis=1, count=count)
