"""Beam search for formulas, as published, for many units at a time.

From the best single concepts on, every formula of the beam is joined with every candidate by every operator, and the
best of old and new are kept, of equal ones those made first.

References:
    Mu, Andreas, "Compositional explanations of units", NeurIPS 2020, section 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from faceter.contracts.explanations import Operator
from faceter.explanations.formulas import Formula
from workers.explanation.patterns import Bits, Floats, Integers, Patterns
from workers.explanation.scoring import iou, joined_counts

_BLOCK_BYTES = 2**25
_NOTHING = -np.inf


@dataclass(frozen=True)
class Found:
    """The best formula of at most some length."""

    formula: Formula
    """The formula."""
    score: float
    """Its IoU, no penalty counted."""


@dataclass(frozen=True)
class BeamSettings:
    """How to search."""

    operators: tuple[Operator, ...] = (Operator.OR, Operator.AND, Operator.AND_NOT)
    """What may join a formula and a concept, in the order in which formulas are made."""
    beam_size: int = 5
    """B, formulas kept."""
    max_length: int = 3
    """Most concepts of a formula."""
    penalty: float = 1.0
    """Formulas are compared by IoU · penalty^(length − 1)."""


def beam_search(
    patterns: Patterns, fires: Floats, candidates: Bits, settings: BeamSettings = BeamSettings()
) -> Iterator[list[Found]]:
    """Yield, unit by unit, the best formula of at most 1, 2, … concepts.

    Args:
        patterns: The patterns.
        fires: u, pixels of each pattern where the unit fires, float64 [U, P]; each unit fires somewhere.
        candidates: Which concepts formulas of a unit may have, bool [U, K]: those in samples where it fires.
        settings: How to search.

    Yields:
        ``max_length`` entries each; none where no candidate is anywhere where the unit fires.
    """
    each = settings.beam_size * (3 * len(patterns) * 8 + 12 * patterns.concept_count * 8)
    size = max(1, _BLOCK_BYTES // max(each, 1))
    for start in range(0, len(fires), size):
        part = slice(start, start + size)
        yield from _Block(patterns, fires[part], candidates[part], settings).search()


class _Block:
    """Units whose beams are kept side by side: [U, B] of everything, places without a formula scored −∞."""

    def __init__(self, patterns: Patterns, fires: Floats, candidates: Bits, settings: BeamSettings) -> None:
        self.patterns, self.fires, self.candidates, self.settings = patterns, fires, candidates, settings
        self.weights = patterns.weights.astype(np.float64)
        self.firings = fires.sum(axis=1)
        self.concept_inside = patterns.sums(fires)
        units, beam, longest = len(fires), settings.beam_size, settings.max_length
        self.rank = np.full((units, beam), _NOTHING)
        self.score = np.zeros((units, beam))
        self.length = np.ones((units, beam), np.int64)
        self.steps = np.zeros((units, beam, longest, 2), np.int64)
        self.inside = np.zeros((units, beam))
        self.size = np.zeros((units, beam))
        self.masks = np.zeros((units, beam, len(patterns)), np.bool_)

    def search(self) -> Iterator[list[Found]]:
        self._begin()
        best = [self._best()]
        for _ in range(1, self.settings.max_length):
            self._lengthen()
            best.append(self._best())
        for unit in range(len(self.fires)):
            yield [] if best[0][unit] is None else [found for level in best if (found := level[unit]) is not None]

    def _begin(self) -> None:
        """Fill the beams with the best single concepts that have any pixel where the unit fires."""
        scores = iou(self.concept_inside, self.patterns.sizes, self.firings[:, None])
        ranks = np.where(self.candidates & (self.concept_inside > 0), scores, _NOTHING)
        for unit, row in enumerate(ranks):
            chosen = best_first(row, self.settings.beam_size)
            chosen = chosen[row[chosen] > _NOTHING]
            count = len(chosen)
            self.rank[unit, :count] = self.score[unit, :count] = row[chosen]
            self.steps[unit, :count, 0, 1] = chosen
            self.inside[unit, :count] = self.concept_inside[unit, chosen]
            self.size[unit, :count] = self.patterns.sizes[chosen]
            self.masks[unit, :count] = self.patterns.masks(chosen)

    def _lengthen(self) -> None:
        """Join every formula with every candidate, and keep the best of old and new."""
        settings, patterns = self.settings, self.patterns
        inside_both = patterns.sums(self.masks * self.fires[:, None])
        size_both = patterns.sums(self.masks * self.weights)
        units, beam, concepts = inside_both.shape
        made = (units, beam, concepts, len(settings.operators))
        inside, size = np.empty(made), np.empty(made)
        for place, operator in enumerate(settings.operators):
            inside[..., place] = joined_counts(
                operator, self.inside[..., None], self.concept_inside[:, None], inside_both
            )
            size[..., place] = joined_counts(operator, self.size[..., None], patterns.sizes, size_both)
        scores = iou(inside, size, self.firings[:, None, None, None])
        ranks = scores * (settings.penalty**self.length)[:, :, None, None]
        usable = (self.rank > _NOTHING)[:, :, None] & self.candidates[:, None]
        ranks = np.where(usable[..., None], ranks, _NOTHING).reshape(units, -1)
        every = np.concatenate([self.rank, ranks], axis=1)
        chosen = np.stack([best_first(row, beam) for row in every])
        self._keep(chosen, scores.reshape(units, -1), inside.reshape(units, -1), size.reshape(units, -1), every)

    def _keep(self, chosen: Integers, scores: Floats, inside: Floats, size: Floats, ranks: Floats) -> None:
        """Take over the chosen ones, int64 [U, B]: places of old formulas first, then of those made."""
        beam, operators = self.settings.beam_size, self.settings.operators
        made = chosen >= beam
        new = np.where(made, chosen - beam, 0)
        parent, rest = np.divmod(new, self.patterns.concept_count * len(operators))
        concept, operator = np.divmod(rest, len(operators))
        source = np.where(made, parent, chosen)
        row = np.arange(len(chosen))[:, None]
        length = self.length[row, source]
        steps, masks = self.steps[row, source], self.masks[row, source]
        unit, place = np.nonzero(made & (np.take_along_axis(ranks, chosen, 1) > _NOTHING))
        steps[unit, place, length[unit, place], 0] = operator[unit, place]
        steps[unit, place, length[unit, place], 1] = concept[unit, place]
        for number, joins in enumerate(operators):
            these = operator[unit, place] == number
            at = (unit[these], place[these])
            masks[at] = self.patterns.joined(masks[at], joins, concept[at])
        self.rank = np.take_along_axis(ranks, chosen, 1)
        self.score = np.where(made, np.take_along_axis(scores, new, 1), self.score[row, source])
        self.inside = np.where(made, np.take_along_axis(inside, new, 1), self.inside[row, source])
        self.size = np.where(made, np.take_along_axis(size, new, 1), self.size[row, source])
        self.length = length + made
        self.steps, self.masks = steps, masks

    def _best(self) -> list[Found | None]:
        """Return the first formula of each beam."""
        return [
            Found(self._formula(self.steps[unit, 0], int(self.length[unit, 0])), float(self.score[unit, 0]))
            if self.rank[unit, 0] > _NOTHING
            else None
            for unit in range(len(self.fires))
        ]

    def _formula(self, steps: Integers, length: int) -> Formula:
        rest = [(self.settings.operators[operator], int(concept)) for operator, concept in steps[1:length].tolist()]
        return Formula(int(steps[0, 1]), tuple(rest))


def best_first(ranks: Floats, count: int) -> Integers:
    """Return the places of the largest values, the largest first, of equal ones the earlier.

    Args:
        ranks: float64 [n].
        count: How many; all if there are fewer.
    """
    if count < len(ranks):
        least = np.partition(ranks, len(ranks) - count)[len(ranks) - count]
        places = np.flatnonzero(ranks >= least)
    else:
        places = np.arange(len(ranks))
    return places[np.argsort(-ranks[places], kind="stable")][:count]
