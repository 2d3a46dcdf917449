"""The best formula of each unit, by whichever search was asked for, and how sure it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from faceter.contracts.explanations import ExplanationRequest, Operator, Search
from workers.explanation import bounded_search
from workers.explanation.beam import BeamSettings, Found, beam_search
from workers.explanation.bounded_search import BoundedSearch
from workers.explanation.formula_table import FormulaTable
from workers.explanation.patterns import Bits, Floats, Patterns
from workers.explanation.scoring import ceilings


@dataclass(frozen=True)
class Searched:
    """What was found for a unit."""

    levels: list[Found]
    """The best formula of at most 1, 2, … concepts; empty where no concept is anywhere where it fires."""
    optimal: bool | None
    """Whether the last of them is the best of at most that length; None where that is not known."""
    bound: float
    """No formula of at most that length has a higher IoU."""
    ceiling: float
    """No formula of any length has a higher IoU."""


@dataclass(frozen=True)
class FormulaSearch:
    """Searches over some patterns.

    Attributes:
        patterns: The patterns.
        request: How to search.
    """

    patterns: Patterns
    request: ExplanationRequest

    @property
    def _operators(self) -> tuple[Operator, ...]:
        return tuple(operator for operator in self.request.joined_by if operator is not Operator.NEIGHBORS)

    @property
    def _longest(self) -> int:
        return self.request.max_length if self._operators else 1

    @cached_property
    def table(self) -> FormulaTable | None:
        """All formulas, where there are few."""
        return FormulaTable.build(self.patterns, self._operators, self._longest)

    @cached_property
    def _bounded(self) -> BoundedSearch | None:
        small = self.patterns.concept_count <= bounded_search.MOST_CONCEPTS and self._longest <= bounded_search.LONGEST
        if self.request.search is not Search.OPTIMAL or not small:
            return None
        return BoundedSearch(self.patterns, self._operators, self._longest, self.request.complexity_penalty)

    def search(self, fires: Floats, candidates: Bits) -> Iterator[Searched]:
        """Yield what is found, unit by unit.

        Args:
            fires: u, pixels of each pattern where the unit fires, float64 [U, P]; each unit fires somewhere.
            candidates: Which concepts there are in samples where it fires, bool [U, K].
        """
        settings = BeamSettings(self._operators, self.request.beam_size, self._longest, self.request.complexity_penalty)
        ceiling = ceilings(self.patterns, fires)
        known = list(self.table.best(fires, settings.penalty)) if self.table is not None else None
        if known is not None and self.request.search is Search.OPTIMAL:
            for levels, highest in zip(known, ceiling, strict=True):
                yield _proven(levels, float(highest))
            return
        found = beam_search(self.patterns, fires, candidates, settings)
        for unit, (levels, highest) in enumerate(zip(found, ceiling, strict=True)):
            if not levels:
                yield Searched([], optimal=True, bound=0.0, ceiling=float(highest))
            elif known is not None:
                yield self._compared(levels, known[unit], float(highest))
            else:
                yield self._bounded_or_not(fires[unit], levels, float(highest))

    def _compared(self, levels: list[Found], best: list[Found], ceiling: float) -> Searched:
        """Return what a beam found, knowing what is best."""
        optimal = self._rank(levels[-1]) >= self._rank(best[-1])
        # under a penalty a formula that loses by its length may still have a higher IoU
        exact = self.request.complexity_penalty == 1
        return Searched(levels, optimal, best[-1].score if exact else ceiling, ceiling)

    def _bounded_or_not(self, fires: Floats, levels: list[Found], ceiling: float) -> Searched:
        if self._bounded is not None:
            proven = self._bounded.search(fires, levels)
            if proven.optimal:
                return _proven(proven.found, ceiling)
            levels = proven.found
            if self.request.complexity_penalty == 1:
                bound = max(levels[-1].score, min(ceiling, proven.left))
                return Searched(levels, True if levels[-1].score >= bound else None, bound, ceiling)
        at_ceiling = levels[-1].score >= ceiling and self.request.complexity_penalty == 1
        return Searched(levels, True if at_ceiling else None, ceiling, ceiling)

    def _rank(self, found: Found) -> float:
        return float(found.score * self.request.complexity_penalty ** (len(found.formula) - 1))


def _proven(levels: list[Found], ceiling: float) -> Searched:
    if not levels or levels[-1].score <= 0:
        return Searched([], optimal=True, bound=0.0, ceiling=ceiling)
    return Searched(levels, optimal=True, bound=levels[-1].score, ceiling=ceiling)
