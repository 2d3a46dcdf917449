"""The best formula of at most three concepts among very many, by branch and bound.

Fix a threshold t. A formula F has IoU over t if and only if its *gain* is over t·|M|:

    G(F) = Σ_{p ∈ F} g_p > t |M|,   g_p = (1 + t) u_p − t w_p,

which is linear in the patterns. The matrices Sᵀ diag(u) S and Sᵀ diag(w) S give the gains of all pairs of concepts, and
bounds on what a third concept can do to a pair: OR adds at most the positive gain of one concept; AND keeps at most the
positive gain of the pair; AND NOT removes at most the negative gain that one concept shares with the pair. Pairs whose
bound is below t·|M| are pruned. The others are joined with every concept, highest bound first; t rises with every
better formula.

References:
    La Rosa, Gilpin, "Optimal compositional explanations", arXiv 2511.20934 (best-first search with an admissible
    bound). The linear form of the bound is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from faceter.contracts.explanations import Operator
from faceter.explanations.formulas import Formula
from workers.explanation.search.beam import ScoredFormula
from workers.explanation.search.best_formulas import BestFormulas
from workers.explanation.search.patterns import Floats, Integers, Patterns, formula_vector
from workers.explanation.search.scoring import joined_counts

MAX_LENGTH = 3
"""Most concepts of a formula."""

MAX_CONCEPTS = 2_000
"""Most concepts: matrices of pairs have the square of it in cells."""

_PAIRS_AT_ONCE = 32
_SLACK = 1e-9


@dataclass(frozen=True)
class BoundedSearchResult:
    """The best formulas, and whether they are proven to be."""

    by_length: list[ScoredFormula]
    """The best of at most 1, 2, … concepts."""
    optimal: bool
    """Whether every other formula was scored or pruned."""
    remaining_bound: float = 0.0
    """Upper bound of the IoU of formulas neither scored nor pruned; 0 if there are none."""


class BoundedSearch:
    """Searches for one unit at a time; what does not depend on the unit is computed once.

    Args:
        patterns: P patterns of at most `MAX_CONCEPTS` concepts.
        operators: Operators that formulas may have.
        max_length: 1 to `MAX_LENGTH`.
        penalty: Formulas are ranked by IoU · penalty^(length − 1).
        max_joined: Most pairs that are joined with every concept, per unit.
    """

    def __init__(
        self,
        patterns: Patterns,
        operators: Sequence[Operator],
        max_length: int,
        penalty: float = 1.0,
        max_joined: int = 4_096,
    ) -> None:
        self._patterns, self._operators = patterns, tuple(operators)
        self._max_length, self._penalty, self._max_joined = max_length, penalty, max_joined
        self._weights = patterns.weights.astype(np.float64)
        self._pair_sizes = self._pairs(self._weights) if max_length > 1 else np.zeros((0, 0))

    def search(self, fires: Floats, known: Sequence[ScoredFormula]) -> BoundedSearchResult:
        """Return the best formulas of one unit.

        Args:
            fires: u, pixels of each pattern where the unit fires, float64 [P]; it fires somewhere.
            known: Formulas of another search to start with.
        """
        best = BestFormulas(self._patterns, fires, self._penalty, MAX_LENGTH, known)
        intersection = self._patterns.sums(fires)
        best.offer_concepts(intersection)
        if self._max_length == 1:
            return BoundedSearchResult(best.by_length(1), optimal=True)
        both = self._pairs(fires)
        for operator in self._operators:
            counts = (
                joined_counts(operator, intersection[:, None], intersection, both),
                joined_counts(operator, self._patterns.sizes[:, None], self._patterns.sizes, self._pair_sizes),
            )
            best.offer_pairs(operator, *counts)
        remaining = 0.0 if self._max_length == 2 else self._join(best, intersection, both)
        return BoundedSearchResult(best.by_length(self._max_length), remaining == 0, remaining)

    def _join(self, best: BestFormulas, intersection: Floats, both: Floats) -> float:
        """Join the pairs that are not pruned with every concept.

        Returns:
            Upper bound of the IoU of formulas neither scored nor pruned. A gain of at most B bounds the IoU by B / |M|:
            it is highest where the formula lies inside the mask, |F| = |M ∧ F| = B.
        """
        pairs, bounds, threshold = self._unpruned(best, intersection, both)
        joined = 0
        while len(pairs):
            if joined >= self._max_joined:
                return float(bounds[0] / best.firings)
            block, pairs, bounds = pairs[:_PAIRS_AT_ONCE], pairs[_PAIRS_AT_ONCE:], bounds[_PAIRS_AT_ONCE:]
            self._join_with_all(best, intersection, block)
            joined += len(block)
            if best.threshold(MAX_LENGTH) > threshold:
                # pruned pairs stay pruned, and the higher threshold may prune more
                unpruned, new_bounds, threshold = self._unpruned(best, intersection, both)
                waiting = np.isin(unpruned, pairs)
                pairs, bounds = unpruned[waiting], new_bounds[waiting]
        return 0.0

    def _unpruned(self, best: BestFormulas, intersection: Floats, both: Floats) -> tuple[Integers, Floats, float]:
        """Return the pairs whose bound is over the threshold, highest first, with their bounds, and the threshold.

        Pairs are numbered (operator · K + first) · K + second.
        """
        threshold = best.threshold(MAX_LENGTH)
        sizes = self._patterns.sizes
        gains = (1 + threshold) * best.fires - threshold * self._weights
        needed = threshold * best.firings * (1 - _SLACK)
        plus_one, plus = self._sums_and_pairs(np.maximum(gains, 0.0))
        _, minus = self._sums_and_pairs(np.maximum(-gains, 0.0))
        gain_one = (1 + threshold) * intersection - threshold * sizes
        gain = (1 + threshold) * both - threshold * self._pair_sizes
        most_plus, most_minus = _row_maxima(plus), _row_maxima(minus)
        numbers, bounds = [], []
        count = self._patterns.concept_count
        for number, operator in enumerate(self._operators):
            value = joined_counts(operator, gain_one[:, None], gain_one, gain)
            kept = joined_counts(operator, plus_one[:, None], plus_one, plus)
            if operator is Operator.OR:
                removed, shared = most_minus[:, None] + most_minus, most_plus[:, None] + most_plus
            elif operator is Operator.AND:
                removed, shared = (np.minimum(of[:, None], of) for of in (most_minus, most_plus))
            else:
                removed, shared = (np.repeat(of[:, None], count, axis=1) for of in (most_minus, most_plus))
            bound = np.full_like(value, -np.inf)
            if Operator.OR in self._operators:
                bound = np.maximum(bound, value + plus_one.max(initial=0.0))
            if Operator.AND in self._operators:
                bound = np.maximum(bound, np.minimum(kept, shared))
            if Operator.AND_NOT in self._operators:
                bound = np.maximum(bound, np.minimum(kept, value + removed))
            if operator is not Operator.AND_NOT:
                bound[np.tril_indices(count)] = -np.inf
            places = np.flatnonzero(bound > needed)
            numbers.append(places + number * count * count)
            bounds.append(bound.reshape(-1)[places])
        every = np.concatenate(bounds)
        order = np.argsort(-every, kind="stable")
        return np.concatenate(numbers)[order], every[order], threshold

    def _join_with_all(self, best: BestFormulas, intersection: Floats, pairs: Integers) -> None:
        count = self._patterns.concept_count
        rest, second = np.divmod(pairs, count)
        number, first = np.divmod(rest, count)
        formulas = [
            Formula(int(one), ((self._operators[joins], int(two)),))
            for joins, one, two in zip(number, first, second, strict=True)
        ]
        vectors = np.stack([formula_vector(self._patterns, formula) for formula in formulas])
        intersection_both = self._patterns.sums(vectors * best.fires)
        size_both = self._patterns.sums(vectors * self._weights)
        intersection_pair, size_pair = vectors @ best.fires, vectors @ self._weights
        for operator in self._operators:
            counts = (
                joined_counts(operator, intersection_pair[:, None], intersection, intersection_both),
                joined_counts(operator, size_pair[:, None], self._patterns.sizes, size_both),
            )
            best.offer_joined(formulas, operator, *counts)

    def _pairs(self, values: Floats) -> Floats:
        """Return Sᵀ diag(x) S, [K, K]."""
        incidence = self._patterns.incidence
        used = np.flatnonzero(values)
        part = incidence[:, used] if len(used) < len(values) else incidence
        return np.asarray((part.multiply(values[used]) @ part.T).toarray())

    def _sums_and_pairs(self, values: Floats) -> tuple[Floats, Floats]:
        pairs = self._pairs(values)
        return np.diagonal(pairs), pairs


def _row_maxima(pairs: Floats) -> Floats:
    """Return the largest off-diagonal cell of each row, [K]."""
    others = pairs.copy()
    np.fill_diagonal(others, 0.0)
    return np.asarray(others.max(axis=1, initial=0.0))
