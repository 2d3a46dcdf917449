"""Patterns: pixels grouped by the set of concepts they carry.

Pixels with the same concepts cannot be told apart by any formula over these concepts, so a formula is a 0/1 vector f
over P patterns. With w_p pixels of pattern p, u_p of which a unit fires at, and S_pk saying whether pattern p carries
concept k,

    |F| = w·f,  |M ∧ F| = u·f,  |F ∧ C_k| = (Sᵀ(w∘f))_k,  |M ∧ F ∧ C_k| = (Sᵀ(u∘f))_k

for every concept at once, and OR and AND NOT follow by arithmetic. No mask of pixels is ever built. All counts are
whole numbers below 2^53, so that float64 holds them, and their sums, exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from faceter.contracts.explanations import Operator
from faceter.explanations.formulas import Formula

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Bits = NDArray[np.bool_]

_DENSE_CELLS = 4_000_000


@dataclass(frozen=True)
class Patterns:
    """The sets of concepts that occur, and how often."""

    weights: Integers
    """w, pixels of each pattern, int64 [P]."""
    starts: Integers
    """Where each pattern's concepts start in `concepts`, int64 [P + 1]."""
    concepts: Integers
    """Numbers of the concepts of one pattern after the other, rising within each, int64."""
    concept_count: int
    """K."""

    def __len__(self) -> int:
        return len(self.weights)

    @classmethod
    def of(cls, sets: Sequence[Sequence[int]], weights: Sequence[int] | Integers, concept_count: int) -> Patterns:
        """Return the patterns with these sets of concepts.

        Args:
            sets: Concepts of each pattern, any order, none twice.
            weights: Pixels of each.
            concept_count: K; every concept is less than it.
        """
        lengths = np.array([len(concepts) for concepts in sets], np.int64)
        numbers = np.fromiter(chain.from_iterable(sorted(concepts) for concepts in sets), np.int64, int(lengths.sum()))
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        return cls(np.asarray(weights, np.int64), starts, numbers, concept_count)

    @property
    def pixels(self) -> int:
        """How many pixels there are."""
        return int(self.weights.sum())

    @cached_property
    def sizes(self) -> Floats:
        """Pixels of each concept, float64 [K]."""
        return self.sums(self.weights.astype(np.float64))

    @cached_property
    def blank(self) -> Bits:
        """Which patterns carry no concept, and so are in no formula, bool [P]; at most one is."""
        return np.asarray(np.diff(self.starts) == 0)

    @cached_property
    def carriers(self) -> csr_array:
        """Sᵀ, [K, P]."""
        cells = np.ones(len(self.concepts), np.float64)
        members = csr_array((cells, self.concepts, self.starts), shape=(len(self), self.concept_count))  # type: ignore[no-untyped-call]
        return csr_array(members.T)  # type: ignore[no-untyped-call]

    @cached_property
    def _dense(self) -> Floats | None:
        """S, [P, K], where it is small enough."""
        if len(self) * self.concept_count > _DENSE_CELLS:
            return None
        cells: Floats = np.ascontiguousarray(self.carriers.toarray().T)  # type: ignore[no-untyped-call]
        return cells

    @cached_property
    def _dense_bits(self) -> Bits | None:
        """Sᵀ, [K, P], where it is small enough."""
        return None if self._dense is None else np.ascontiguousarray(self._dense.T > 0)

    def sums(self, values: Floats) -> Floats:
        """Return Sᵀx: for each concept the sum of a value over the patterns that carry it.

        Args:
            values: float64 [..., P].

        Returns:
            float64 [..., K].
        """
        if self._dense is not None:
            return np.asarray(values @ self._dense)
        rows = values.reshape(-1, len(self))
        return np.asarray((self.carriers @ rows.T).T, np.float64).reshape(*values.shape[:-1], self.concept_count)

    def of_concept(self, concept: int) -> Integers:
        """Return the patterns that carry a concept, rising."""
        begin, end = self.carriers.indptr[concept : concept + 2]
        return np.asarray(self.carriers.indices[begin:end], np.int64)

    def masks(self, concepts: Integers) -> Bits:
        """Return the vectors of single concepts, bool [n, P]."""
        if self._dense_bits is not None:
            return self._dense_bits[concepts]
        found = np.zeros((len(concepts), len(self)), np.bool_)
        for row, concept in zip(found, concepts, strict=True):
            row[self.of_concept(int(concept))] = True
        return found

    def joined(self, masks: Bits, operator: Operator, concepts: Integers) -> Bits:
        """Return the vectors of formulas, each joined with a concept.

        Args:
            masks: bool [n, P].
            operator: What joins them.
            concepts: int64 [n].
        """
        others = self.masks(concepts)
        if operator is Operator.OR:
            return masks | others
        return masks & others if operator is Operator.AND else masks & ~others


def formula_mask(patterns: Patterns, formula: Formula) -> Bits:
    """Return a formula's vector, bool [P]."""
    mask = patterns.masks(np.array([formula.first]))
    for operator, concept in formula.rest:
        mask = patterns.joined(mask, operator, np.array([concept]))
    return np.asarray(mask[0])
