"""The best formulas of one unit found so far."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from faceter.contracts.explanations import Operator
from faceter.explanations.formulas import Formula
from workers.explanation.search.beam import ScoredFormula
from workers.explanation.search.patterns import Floats, Patterns
from workers.explanation.search.scoring import iou


class BestFormulas:
    """Keeps the best formula of each length.

    Args:
        patterns: P patterns of K concepts.
        fires: u, pixels of each pattern where the unit fires, float64 [P].
        penalty: Formulas are ranked by IoU · penalty^(length − 1).
        max_length: Longer formulas are ignored.
        known: Formulas to start with.
    """

    def __init__(
        self, patterns: Patterns, fires: Floats, penalty: float, max_length: int, known: Sequence[ScoredFormula]
    ) -> None:
        self.fires = fires
        self.firings = float(fires.sum())
        self._sizes, self._penalty = patterns.sizes, penalty
        self._best: list[ScoredFormula | None] = [None] * max_length
        for formula in known:
            if len(formula.formula) <= max_length:
                self._offer(formula)

    def threshold(self, length: int) -> float:
        """Return the IoU that a formula of this length must exceed to rank above all known ones."""
        return max(self._rank(best) for best in self._best if best is not None) / self._penalty ** (length - 1)

    def offer_concepts(self, intersection: Floats) -> None:
        """Consider all single concepts, |M ∧ F| [K]."""
        scores = iou(intersection, self._sizes, np.array(self.firings))
        place = int(scores.argmax())
        self._offer(ScoredFormula(Formula(place), float(scores[place])))

    def offer_pairs(self, operator: Operator, intersection: Floats, size: Floats) -> None:
        """Consider all pairs of concepts, |M ∧ F| and |F| [K, K]."""
        scores = iou(intersection, size, np.array(self.firings))
        first, second = divmod(int(scores.argmax()), scores.shape[1])
        self._offer(ScoredFormula(Formula(first, ((operator, second),)), float(scores[first, second])))

    def offer_joined(self, formulas: Sequence[Formula], operator: Operator, intersection: Floats, size: Floats) -> None:
        """Consider n formulas joined with all concepts, |M ∧ F| and |F| [n, K]."""
        scores = iou(intersection, size, np.array(self.firings))
        place, concept = divmod(int(scores.argmax()), scores.shape[1])
        self._offer(ScoredFormula(formulas[place].joined(operator, concept), float(scores[place, concept])))

    def by_length(self, max_length: int) -> list[ScoredFormula]:
        """Return the best formula of at most 1, 2, … concepts."""
        ranked: list[ScoredFormula] = []
        for best in self._best[:max_length]:
            if best is not None and (not ranked or self._rank(best) > self._rank(ranked[-1])):
                ranked.append(best)
            else:
                ranked.append(ranked[-1])
        return ranked

    def _offer(self, formula: ScoredFormula) -> None:
        place = len(formula.formula) - 1
        best = self._best[place]
        if best is None or formula.score > best.score:
            self._best[place] = formula

    def _rank(self, formula: ScoredFormula) -> float:
        return float(formula.score * self._penalty ** (len(formula.formula) - 1))
