"""Every formula up to a length, once, as a vector over patterns: where there are few concepts, that is all it takes.

A formula's vector does not depend on the unit, so the table is made once and scored for all units by one product.
Formulas with a vector that a shorter or earlier one has already are left out: whatever is made of them, is made of that
one no later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.explanations import Operator
from faceter.explanations.formulas import Formula
from workers.explanation.beam import Found
from workers.explanation.patterns import Floats, Integers, Patterns
from workers.explanation.scoring import iou

Words = NDArray[np.uint64]

MOST_FORMULAS = 400_000
"""Most formulas of a table; the next length is not begun if it could make more than so many times as many."""

_MOST_MADE = 3_000_000
_SCORED_BYTES = 2**26
_WORD = 64


@dataclass(frozen=True)
class _Level:
    """The formulas of one length that no shorter one equals."""

    vectors: Words
    """Packed bits over patterns, uint64 [n, words]."""
    parents: Integers
    """Places in the level before, int64 [n]; those of the first are 0."""
    operators: Integers
    """Places in the table's operators, int64 [n]."""
    concepts: Integers
    """int64 [n]."""


@dataclass(frozen=True)
class FormulaTable:
    """All formulas up to a length that differ."""

    patterns: Patterns
    operators: tuple[Operator, ...]
    levels: list[_Level]

    @classmethod
    def build(cls, patterns: Patterns, operators: Sequence[Operator], max_length: int) -> FormulaTable | None:
        """Return the table, or None where it would be too large.

        Args:
            patterns: The patterns.
            operators: What may join a formula and a concept.
            max_length: Most concepts of a formula.
        """
        count = patterns.concept_count
        if count * len(patterns) > _MOST_MADE:
            return None
        concepts = _packed(patterns.masks(np.arange(count)))
        zeros = np.zeros(count, np.int64)
        keep = _first_of_each(concepts)
        levels = [_Level(concepts[keep], zeros[: len(keep)], zeros[: len(keep)], keep)]
        seen = concepts[keep]
        for _ in range(1, max_length):
            if len(levels[-1].vectors) * count * len(operators) * max(1, concepts.shape[1] // 2) > _MOST_MADE:
                return None
            level = _longer(levels[-1], concepts, operators, seen)
            seen = np.concatenate([seen, level.vectors])
            if len(seen) > MOST_FORMULAS:
                return None
            levels.append(level)
        return cls(patterns, tuple(operators), levels)

    def __len__(self) -> int:
        return sum(len(level.vectors) for level in self.levels)

    def best(self, fires: Floats, penalty: float = 1.0) -> list[list[Found]]:
        """Return, unit by unit, the best formula of at most 1, 2, … concepts.

        Args:
            fires: u, pixels of each pattern where the unit fires, float64 [U, P]; each unit fires somewhere.
            penalty: Formulas are compared by IoU · penalty^(length − 1).
        """
        units = np.arange(len(fires))
        firings = fires.sum(axis=1)
        best_rank = np.full(len(fires), -1.0)
        best: list[tuple[int, int]] = [(0, 0)] * len(fires)
        scores = np.zeros(len(fires))
        answers: list[list[Found]] = [[] for _ in units]
        for number, level in enumerate(self.levels):
            if len(level.vectors):
                ious, places = self._level_best(level, fires, firings)
                ranks = ious * penalty**number
                for unit in np.flatnonzero(ranks > best_rank):
                    best_rank[unit], scores[unit] = ranks[unit], ious[unit]
                    best[unit] = (number, int(places[unit]))
            for unit in units:
                answers[unit].append(Found(self._formula(*best[unit]), float(scores[unit])))
        return answers

    def _level_best(self, level: _Level, fires: Floats, firings: Floats) -> tuple[Floats, Integers]:
        """Return the highest IoU of a level's formulas for each unit, and the first formula that has it."""
        weights = self.patterns.weights.astype(np.float64)
        size = max(1, _SCORED_BYTES // (8 * (len(self.patterns) + len(fires))))
        best, places = np.full(len(fires), -1.0), np.zeros(len(fires), np.int64)
        both = np.concatenate([fires, weights[None]]).T
        for start in range(0, len(level.vectors), size):
            bits = _unpacked(level.vectors[start : start + size], len(self.patterns))
            counts = bits.astype(np.float64) @ both
            scores = iou(counts[:, :-1], counts[:, -1:], firings)
            first = scores.argmax(axis=0)
            found = scores[first, np.arange(len(fires))]
            better = found > best
            best[better], places[better] = found[better], first[better] + start
        return best, places

    def _formula(self, number: int, place: int) -> Formula:
        rest: list[tuple[Operator, int]] = []
        while number > 0:
            level = self.levels[number]
            rest.append((self.operators[level.operators[place]], int(level.concepts[place])))
            place, number = int(level.parents[place]), number - 1
        return Formula(int(self.levels[0].concepts[place]), tuple(reversed(rest)))


def _longer(level: _Level, concepts: Words, operators: Sequence[Operator], seen: Words) -> _Level:
    """Return the formulas of one more concept, in the order they are made, that equal none that was seen."""
    parent, concept, operator = (
        grid.reshape(-1)
        for grid in np.meshgrid(
            np.arange(len(level.vectors)), np.arange(len(concepts)), np.arange(len(operators)), indexing="ij"
        )
    )
    made = np.empty((len(parent), concepts.shape[1]), np.uint64)
    for number, joins in enumerate(operators):
        these = operator == number
        ours, theirs = level.vectors[parent[these]], concepts[concept[these]]
        if joins is Operator.OR:
            made[these] = ours | theirs
        else:
            made[these] = ours & (theirs if joins is Operator.AND else ~theirs)
    keep = _first_of_each(np.concatenate([seen, made]))
    keep = keep[keep >= len(seen)] - len(seen)
    keep = keep[made[keep].any(axis=1)]
    return _Level(made[keep], parent[keep], operator[keep], concept[keep])


def _first_of_each(vectors: Words) -> Integers:
    """Return the places at which a vector is for the first time, rising."""
    order = np.lexsort(vectors.T[::-1])
    sorted_vectors = vectors[order]
    new = np.ones(len(order), np.bool_)
    new[1:] = (sorted_vectors[1:] != sorted_vectors[:-1]).any(axis=1)
    return np.sort(order[new])


def _packed(bits: NDArray[np.bool_]) -> Words:
    """Return bits as words, uint64 [n, words]; the unused ones are 0."""
    words = -(-bits.shape[1] // _WORD)
    packed = np.zeros((len(bits), words * _WORD // 8), np.uint8)
    held = np.packbits(bits, axis=1)
    packed[:, : held.shape[1]] = held
    return packed.view(np.uint64)


def _unpacked(vectors: Words, count: int) -> NDArray[np.uint8]:
    """Return words as bits, uint8 [n, count]."""
    return np.unpackbits(np.ascontiguousarray(vectors).view(np.uint8), axis=1, count=count)
