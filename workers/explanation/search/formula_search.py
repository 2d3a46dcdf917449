"""The best formula of each unit by the requested search."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from faceter.contracts.explanations import ExplanationRequest, Operator, Search
from workers.explanation.search.beam import BeamSettings, ScoredFormula, beam_search
from workers.explanation.search.bounded import MAX_CONCEPTS, MAX_LENGTH, BoundedSearch
from workers.explanation.search.formula_table import FormulaTable
from workers.explanation.search.patterns import Bits, Floats, Patterns
from workers.explanation.search.scoring import iou_upper_bounds


@dataclass(frozen=True)
class SearchResult:
    """The formulas of one unit."""

    by_length: list[ScoredFormula]
    """The best formula of at most 1, 2, … concepts; empty where no concept has a pixel where the unit fires."""
    optimal: bool | None
    """Whether the last of them is the best of its maximum length; None if not known."""
    bound: float
    """Upper bound of the IoU of formulas of that length."""
    ceiling: float
    """Upper bound of the IoU of formulas of any length."""


@dataclass(frozen=True)
class FormulaSearch:
    """Searches over the patterns of a probe dataset.

    Beam search as published; every result is compared with the exhaustive table where that is small enough. `OPTIMAL`
    takes the table itself, else branch and bound from the result of the beam.
    """

    patterns: Patterns
    request: ExplanationRequest

    @property
    def _operators(self) -> tuple[Operator, ...]:
        return tuple(operator for operator in self.request.joined_by if operator is not Operator.NEIGHBORS)

    @property
    def _max_length(self) -> int:
        return self.request.max_length if self._operators else 1

    @cached_property
    def table(self) -> FormulaTable | None:
        """All formulas, where there are few."""
        return FormulaTable.build(self.patterns, self._operators, self._max_length)

    @cached_property
    def _bounded(self) -> BoundedSearch | None:
        small = self.patterns.concept_count <= MAX_CONCEPTS and self._max_length <= MAX_LENGTH
        if self.request.search is not Search.OPTIMAL or not small:
            return None
        return BoundedSearch(self.patterns, self._operators, self._max_length, self.request.complexity_penalty)

    def search(self, fires: Floats, candidates: Bits) -> Iterator[SearchResult]:
        """Yield the result of each unit.

        Args:
            fires: u, pixels of each pattern where the unit fires, float64 [U, P]; each unit fires somewhere.
            candidates: Concepts of samples where the unit fires, bool [U, K].
        """
        request = self.request
        settings = BeamSettings(self._operators, request.beam_size, self._max_length, request.complexity_penalty)
        ceilings = iou_upper_bounds(self.patterns, fires)
        exhaustive = list(self.table.best(fires, settings.penalty)) if self.table is not None else None
        if exhaustive is not None and request.search is Search.OPTIMAL:
            for by_length, ceiling in zip(exhaustive, ceilings, strict=True):
                yield _optimal(by_length, float(ceiling))
            return
        beams = beam_search(self.patterns, fires, candidates, settings)
        for unit, (by_length, ceiling) in enumerate(zip(beams, ceilings, strict=True)):
            if not by_length:
                yield SearchResult([], optimal=True, bound=0.0, ceiling=float(ceiling))
            elif exhaustive is not None:
                yield self._compared(by_length, exhaustive[unit], float(ceiling))
            else:
                yield self._bounded_result(fires[unit], by_length, float(ceiling))

    def _compared(self, beam: list[ScoredFormula], optimal: list[ScoredFormula], ceiling: float) -> SearchResult:
        """Return the result of a beam where the optimal formulas are known."""
        is_optimal = self._rank(beam[-1]) >= self._rank(optimal[-1])
        # with a penalty, a longer formula that ranks lower may still have a higher IoU
        bound = optimal[-1].score if self.request.complexity_penalty == 1 else ceiling
        return SearchResult(beam, is_optimal, bound, ceiling)

    def _bounded_result(self, fires: Floats, by_length: list[ScoredFormula], ceiling: float) -> SearchResult:
        """Return the result where there are too many formulas for a table."""
        if self._bounded is not None:
            result = self._bounded.search(fires, by_length)
            if result.optimal:
                return _optimal(result.by_length, ceiling)
            by_length = result.by_length
            if self.request.complexity_penalty == 1:
                bound = max(by_length[-1].score, min(ceiling, result.remaining_bound))
                return SearchResult(by_length, True if by_length[-1].score >= bound else None, bound, ceiling)
        at_ceiling = by_length[-1].score >= ceiling and self.request.complexity_penalty == 1
        return SearchResult(by_length, True if at_ceiling else None, ceiling, ceiling)

    def _rank(self, formula: ScoredFormula) -> float:
        return float(formula.score * self.request.complexity_penalty ** (len(formula.formula) - 1))


def _optimal(by_length: list[ScoredFormula], ceiling: float) -> SearchResult:
    if not by_length or by_length[-1].score <= 0:
        return SearchResult([], optimal=True, bound=0.0, ceiling=ceiling)
    return SearchResult(by_length, optimal=True, bound=by_length[-1].score, ceiling=ceiling)
