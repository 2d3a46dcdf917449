"""Patterns: pixels grouped by the set of concepts they carry.

No formula separates pixels with the same concepts, so a formula is a 0/1 vector f over the P patterns. Let w_p be the
pixels of pattern p, u_p those where the unit fires, and S_pk whether pattern p carries concept k. With the firing mask
M and the concept masks C_k,

    |F| = w·f,  |M ∧ F| = u·f,  |F ∧ C_k| = (Sᵀ(w∘f))_k,  |M ∧ F ∧ C_k| = (Sᵀ(u∘f))_k

for all concepts at once, and OR and AND NOT follow by arithmetic. No pixel mask is built. All counts are integers below
2^53, which float64 and its sums represent exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

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
    """The sets of concepts that occur, and how often; sets in compressed sparse row form."""

    weights: Integers
    """w, pixels of each pattern, int64 [P]."""
    starts: Integers
    """Where each pattern begins in `concepts`, int64 [P + 1]."""
    concepts: Integers
    """Concepts of one pattern after another, ascending within each, int64."""
    concept_count: int
    """K."""

    def __len__(self) -> int:
        return len(self.weights)

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return int(self.weights.sum())

    @cached_property
    def sizes(self) -> Floats:
        """|C_k|, pixels of each concept, float64 [K]."""
        return self.sums(self.weights.astype(np.float64))

    @cached_property
    def unlabelled(self) -> Bits:
        """Whether a pattern has no concept, and so is in no formula, bool [P]; at most one pattern."""
        return np.asarray(np.diff(self.starts) == 0)

    @cached_property
    def incidence(self) -> csr_array:
        """Sᵀ, [K, P]."""
        cells = np.ones(len(self.concepts), np.float64)
        members = csr_array((cells, self.concepts, self.starts), shape=(len(self), self.concept_count))  # type: ignore[no-untyped-call]
        return csr_array(members.T)  # type: ignore[no-untyped-call]

    @cached_property
    def _dense(self) -> Floats | None:
        """S, [P, K], where it is small enough."""
        if len(self) * self.concept_count > _DENSE_CELLS:
            return None
        cells: Floats = np.ascontiguousarray(self.incidence.toarray().T)  # type: ignore[no-untyped-call]
        return cells

    @cached_property
    def _dense_bits(self) -> Bits | None:
        """Sᵀ, [K, P], where it is small enough."""
        return None if self._dense is None else np.ascontiguousarray(self._dense.T > 0)

    def sums(self, values: Floats) -> Floats:
        """Return Sᵀx: for each concept the sum of x over the patterns that carry it.

        Args:
            values: x, float64 [..., P].

        Returns:
            float64 [..., K].
        """
        if self._dense is not None:
            return np.asarray(values @ self._dense)
        rows = values.reshape(-1, len(self))
        return np.asarray((self.incidence @ rows.T).T, np.float64).reshape(*values.shape[:-1], self.concept_count)

    def with_concept(self, concept: int) -> Integers:
        """Return the patterns that carry a concept, ascending."""
        begin, end = self.incidence.indptr[concept : concept + 2]
        return np.asarray(self.incidence.indices[begin:end], np.int64)

    def concept_vectors(self, concepts: Integers) -> Bits:
        """Return the vectors over patterns of single concepts, bool [n, P]."""
        if self._dense_bits is not None:
            return self._dense_bits[concepts]
        vectors = np.zeros((len(concepts), len(self)), np.bool_)
        for row, concept in zip(vectors, concepts, strict=True):
            row[self.with_concept(int(concept))] = True
        return vectors

    def joined(self, vectors: Bits, operator: Operator, concepts: Integers) -> Bits:
        """Return the vectors of formulas, each joined with one concept.

        Args:
            vectors: Vectors of the formulas, bool [n, P].
            operator: OR, AND or AND NOT.
            concepts: One for each formula, int64 [n].
        """
        others = self.concept_vectors(concepts)
        if operator is Operator.OR:
            return vectors | others
        return vectors & others if operator is Operator.AND else vectors & ~others


def formula_vector(patterns: Patterns, formula: Formula) -> Bits:
    """Return f, the vector of a formula over patterns, bool [P]."""
    vector = patterns.concept_vectors(np.array([formula.first]))
    for operator, concept in formula.rest:
        vector = patterns.joined(vector, operator, np.array([concept]))
    return np.asarray(vector[0])
