"""The best formula of at most three concepts among very many, by counting pairs and ruling out the rest.

Fix a threshold t. A formula F has IoU over t if and only if its *gain* is over t·|M|:

    G(F) = Σ_{p ∈ F} g_p > t |M|,   g_p = (1 + t) u_p − t w_p,

which is linear in the patterns. The gains of all pairs of concepts come from the matrices Sᵀ diag(u) S and
Sᵀ diag(w) S, and so do bounds on what a third concept can do to a pair: OR adds at most the positive gain of one
concept; AND keeps at most the pair's positive gain; AND NOT removes at most the negative gain that one concept shares
with it.
Pairs that cannot come over the threshold are dropped; the others are joined with every concept, the most promising
first, t rising with what is found.

References:
    La Rosa, Gilpin, "Optimal compositional explanations", arXiv 2511.20934 (best-first search with an admissible
    bound); the linear form of the bound is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from faceter.contracts.explanations import Operator
from faceter.explanations.formulas import Formula
from workers.explanation.beam import Found
from workers.explanation.patterns import Floats, Integers, Patterns, formula_mask
from workers.explanation.scoring import iou, joined_counts

LONGEST = 3
"""Most concepts of the formulas looked at."""

MOST_CONCEPTS = 2_000
"""Most concepts: matrices of pairs have the square of that many cells."""

_AT_A_TIME = 32
_SLACK = 1e-9


@dataclass(frozen=True)
class Proven:
    """The best formulas found, and whether they are the best there are."""

    found: list[Found]
    """The best of at most 1, 2, … concepts."""
    optimal: bool
    """Whether nothing was left unlooked at."""
    left: float = 0.0
    """No formula that was not looked at has a higher IoU; 0 if there is none."""


class BoundedSearch:
    """Searches for one unit after the other; what does not depend on the unit is computed once.

    Args:
        patterns: The patterns; at most `MOST_CONCEPTS` concepts.
        operators: What may join a formula and a concept.
        max_length: 1 to `LONGEST`.
        penalty: Formulas are compared by IoU · penalty^(length − 1).
        most_joined: How many pairs are joined with every concept before a unit is given up.
    """

    def __init__(
        self,
        patterns: Patterns,
        operators: Sequence[Operator],
        max_length: int,
        penalty: float = 1.0,
        most_joined: int = 4_096,
    ) -> None:
        self._patterns, self._operators = patterns, tuple(operators)
        self._max_length, self._penalty, self._most_joined = max_length, penalty, most_joined
        self._weights = patterns.weights.astype(np.float64)
        self._size = self._pairs(self._weights) if max_length > 1 else np.zeros((0, 0))

    def search(self, fires: Floats, known: Sequence[Found]) -> Proven:
        """Return the best formulas for one unit.

        Args:
            fires: u, pixels of each pattern where the unit fires, float64 [P]; it fires somewhere.
            known: The best of at most 1, 2, … concepts of another search, to start from.
        """
        unit = _Unit(self._patterns, fires, self._penalty, list(known))
        inside = self._patterns.sums(fires)
        unit.offer_concepts(inside)
        if self._max_length == 1:
            return Proven(unit.answer(1), optimal=True)
        both = self._pairs(fires)
        for operator in self._operators:
            counts = (
                joined_counts(operator, inside[:, None], inside, both),
                joined_counts(operator, self._patterns.sizes[:, None], self._patterns.sizes, self._size),
            )
            unit.offer_pairs(operator, *counts)
        left = 0.0 if self._max_length == 2 else self._join(unit, inside, both)
        return Proven(unit.answer(self._max_length), optimal=left == 0, left=left)

    def _join(self, unit: _Unit, inside: Floats, both: Floats) -> float:
        """Join the pairs that may come over the threshold with every concept.

        Returns:
            What no formula that was not looked at exceeds. A gain of at most B bounds the IoU: it is largest where the
            formula lies all inside, |F| = |M ∧ F| = B, and then B / |M|.
        """
        promising, bounds, threshold = self._promising(unit, inside, both)
        joined = 0
        while len(promising):
            if joined >= self._most_joined:
                return float(bounds[0] / unit.firings)
            these, promising, bounds = promising[:_AT_A_TIME], promising[_AT_A_TIME:], bounds[_AT_A_TIME:]
            self._join_with_all(unit, inside, these)
            joined += len(these)
            if unit.threshold(LONGEST) > threshold:
                # what was ruled out stays so, and more may be
                found, new, threshold = self._promising(unit, inside, both)
                kept = np.isin(found, promising)
                promising, bounds = found[kept], new[kept]
        return 0.0

    def _promising(self, unit: _Unit, inside: Floats, both: Floats) -> tuple[Integers, Floats, float]:
        """Return pairs whose bound is over the threshold, the most promising first, their bounds, and the threshold.

        Pairs are numbered (operator · K + first) · K + second.
        """
        threshold = unit.threshold(LONGEST)
        sizes = self._patterns.sizes
        gains = (1 + threshold) * unit.fires - threshold * self._weights
        needed = threshold * unit.firings * (1 - _SLACK)
        plus_one, plus = self._sums_and_pairs(np.maximum(gains, 0.0))
        _, minus = self._sums_and_pairs(np.maximum(-gains, 0.0))
        gain_one, gain = (1 + threshold) * inside - threshold * sizes, (1 + threshold) * both - threshold * self._size
        most_plus, most_minus = _row_maxima(plus), _row_maxima(minus)
        found, bounds = [], []
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
            found.append(places + number * count * count)
            bounds.append(bound.reshape(-1)[places])
        every = np.concatenate(bounds)
        order = np.argsort(-every, kind="stable")
        return np.concatenate(found)[order], every[order], threshold

    def _join_with_all(self, unit: _Unit, inside: Floats, pairs: Integers) -> None:
        count = self._patterns.concept_count
        rest, second = np.divmod(pairs, count)
        number, first = np.divmod(rest, count)
        formulas = [
            Formula(int(one), ((self._operators[joins], int(two)),))
            for joins, one, two in zip(number, first, second, strict=True)
        ]
        masks = np.stack([formula_mask(self._patterns, formula) for formula in formulas])
        inside_both, size_both = self._patterns.sums(masks * unit.fires), self._patterns.sums(masks * self._weights)
        inside_pair, size_pair = masks @ unit.fires, masks @ self._weights
        for operator in self._operators:
            counts = (
                joined_counts(operator, inside_pair[:, None], inside, inside_both),
                joined_counts(operator, size_pair[:, None], self._patterns.sizes, size_both),
            )
            unit.offer_longer(formulas, operator, *counts)

    def _pairs(self, values: Floats) -> Floats:
        """Return Sᵀ diag(x) S, [K, K]."""
        carriers = self._patterns.carriers
        used = np.flatnonzero(values)
        part = carriers[:, used] if len(used) < len(values) else carriers
        return np.asarray((part.multiply(values[used]) @ part.T).toarray())

    def _sums_and_pairs(self, values: Floats) -> tuple[Floats, Floats]:
        pairs = self._pairs(values)
        return np.diagonal(pairs), pairs


class _Unit:
    """The best formulas of one unit so far."""

    def __init__(self, patterns: Patterns, fires: Floats, penalty: float, known: list[Found]) -> None:
        self.fires = fires
        self.firings = float(fires.sum())
        self._sizes, self._penalty = patterns.sizes, penalty
        self._best: list[Found | None] = [None] * LONGEST
        for found in known:
            if len(found.formula) <= LONGEST:
                self._offer(found)

    def threshold(self, length: int) -> float:
        """Return the IoU that a formula of this length must exceed to be better than all known."""
        return max(self._rank(found) for found in self._best if found is not None) / self._penalty ** (length - 1)

    def offer_concepts(self, inside: Floats) -> None:
        """Look at all single concepts."""
        scores = iou(inside, self._sizes, np.array(self.firings))
        place = int(scores.argmax())
        self._offer(Found(Formula(place), float(scores[place])))

    def offer_pairs(self, operator: Operator, inside: Floats, size: Floats) -> None:
        """Look at all pairs, [K, K]."""
        scores = iou(inside, size, np.array(self.firings))
        first, second = divmod(int(scores.argmax()), scores.shape[1])
        self._offer(Found(Formula(first, ((operator, second),)), float(scores[first, second])))

    def offer_longer(self, formulas: Sequence[Formula], operator: Operator, inside: Floats, size: Floats) -> None:
        """Look at formulas joined with all concepts, [n, K]."""
        scores = iou(inside, size, np.array(self.firings))
        place, concept = divmod(int(scores.argmax()), scores.shape[1])
        self._offer(Found(formulas[place].joined(operator, concept), float(scores[place, concept])))

    def answer(self, length: int) -> list[Found]:
        """Return the best of at most 1, 2, … concepts."""
        answers: list[Found] = []
        for found in self._best[:length]:
            if found is not None and (not answers or self._rank(found) > self._rank(answers[-1])):
                answers.append(found)
            else:
                answers.append(answers[-1])
        return answers

    def _offer(self, found: Found) -> None:
        place = len(found.formula) - 1
        best = self._best[place]
        if best is None or found.score > best.score:
            self._best[place] = found

    def _rank(self, found: Found) -> float:
        return found.score * self._penalty ** (len(found.formula) - 1)


def _row_maxima(pairs: Floats) -> Floats:
    """Return the largest cell of each row beside the diagonal, [K]."""
    others = pairs.copy()
    np.fill_diagonal(others, 0.0)
    return np.asarray(others.max(axis=1, initial=0.0))
