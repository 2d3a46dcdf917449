"""Beam search for formulas, as published, for many units at a time.

The beam starts with the best single concepts. Each step joins every formula of the beam with every candidate concept by
every operator, and keeps the best of old and new formulas; of equal ones, those created first.

References:
    Mu, Andreas, "Compositional explanations of neurons", NeurIPS 2020, section 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from faceter.contracts.explanations import Operator
from faceter.explanations.formulas import Formula
from workers.explanation.search.patterns import Bits, Floats, Integers, Patterns
from workers.explanation.search.scoring import iou, joined_counts

_BLOCK_BYTES = 2**25
_EMPTY = -np.inf


@dataclass(frozen=True)
class ScoredFormula:
    """A formula and its IoU."""

    formula: Formula
    """The formula."""
    score: float
    """Its IoU, without penalty."""


@dataclass(frozen=True)
class BeamSettings:
    """Settings of the search."""

    operators: tuple[Operator, ...] = (Operator.OR, Operator.AND, Operator.AND_NOT)
    """Operators, in the order in which formulas are created."""
    beam_size: int = 5
    """B, formulas kept at each length."""
    max_length: int = 3
    """Most concepts of a formula."""
    penalty: float = 1.0
    """Formulas are ranked by IoU · penalty^(length − 1)."""


def beam_search(
    patterns: Patterns, fires: Floats, candidates: Bits, settings: BeamSettings = BeamSettings()
) -> Iterator[list[ScoredFormula]]:
    """Yield for each unit the best formula of at most 1, 2, … concepts.

    Args:
        patterns: P patterns of K concepts.
        fires: u, pixels of each pattern where the unit fires, float64 [U, P]; each unit fires somewhere.
        candidates: Concepts that formulas of a unit may have, bool [U, K]: those of samples where it fires.
        settings: Settings of the search.

    Yields:
        ``max_length`` formulas each; none where no candidate has a pixel where the unit fires.
    """
    unit_bytes = settings.beam_size * (3 * len(patterns) * 8 + 12 * patterns.concept_count * 8)
    size = max(1, _BLOCK_BYTES // max(unit_bytes, 1))
    for start in range(0, len(fires), size):
        part = slice(start, start + size)
        yield from _UnitBeams(patterns, fires[part], candidates[part], settings).search()


class _UnitBeams:
    """Beams of several units: arrays [U, B, …]; empty places have the rank −∞."""

    def __init__(self, patterns: Patterns, fires: Floats, candidates: Bits, settings: BeamSettings) -> None:
        self.patterns, self.fires, self.candidates, self.settings = patterns, fires, candidates, settings
        self.weights = patterns.weights.astype(np.float64)
        self.firings = fires.sum(axis=1)
        self.concept_intersection = patterns.sums(fires)
        units, beam, longest = len(fires), settings.beam_size, settings.max_length
        self.rank = np.full((units, beam), _EMPTY)
        self.score = np.zeros((units, beam))
        self.length = np.ones((units, beam), np.int64)
        self.steps = np.zeros((units, beam, longest, 2), np.int64)
        self.intersection = np.zeros((units, beam))
        self.size = np.zeros((units, beam))
        self.vectors = np.zeros((units, beam, len(patterns)), np.bool_)

    def search(self) -> Iterator[list[ScoredFormula]]:
        self._initialize()
        best = [self._best()]
        for _ in range(1, self.settings.max_length):
            self._extend()
            best.append(self._best())
        for unit in range(len(self.fires)):
            yield [] if best[0][unit] is None else [one for of_length in best if (one := of_length[unit]) is not None]

    def _initialize(self) -> None:
        """Fill the beams with the best single concepts of positive IoU."""
        scores = iou(self.concept_intersection, self.patterns.sizes, self.firings[:, None])
        ranks = np.where(self.candidates & (self.concept_intersection > 0), scores, _EMPTY)
        for unit, row in enumerate(ranks):
            chosen = stable_top(row, self.settings.beam_size)
            chosen = chosen[row[chosen] > _EMPTY]
            count = len(chosen)
            self.rank[unit, :count] = self.score[unit, :count] = row[chosen]
            self.steps[unit, :count, 0, 1] = chosen
            self.intersection[unit, :count] = self.concept_intersection[unit, chosen]
            self.size[unit, :count] = self.patterns.sizes[chosen]
            self.vectors[unit, :count] = self.patterns.concept_vectors(chosen)

    def _extend(self) -> None:
        """Join every formula with every candidate, and keep the best of old and new."""
        settings, patterns = self.settings, self.patterns
        intersection_both = patterns.sums(self.vectors * self.fires[:, None])
        size_both = patterns.sums(self.vectors * self.weights)
        units, beam, concepts = intersection_both.shape
        shape = (units, beam, concepts, len(settings.operators))
        intersection, size = np.empty(shape), np.empty(shape)
        for place, operator in enumerate(settings.operators):
            intersection[..., place] = joined_counts(
                operator, self.intersection[..., None], self.concept_intersection[:, None], intersection_both
            )
            size[..., place] = joined_counts(operator, self.size[..., None], patterns.sizes, size_both)
        scores = iou(intersection, size, self.firings[:, None, None, None])
        ranks = scores * (settings.penalty**self.length)[:, :, None, None]
        usable = (self.rank > _EMPTY)[:, :, None] & self.candidates[:, None]
        ranks = np.where(usable[..., None], ranks, _EMPTY).reshape(units, -1)
        every = np.concatenate([self.rank, ranks], axis=1)
        chosen = np.stack([stable_top(row, beam) for row in every])
        self._select(chosen, scores.reshape(units, -1), intersection.reshape(units, -1), size.reshape(units, -1), every)

    def _select(self, chosen: Integers, scores: Floats, intersection: Floats, size: Floats, ranks: Floats) -> None:
        """Replace the beams by the chosen formulas, int64 [U, B]: positions among the old ones, then the new ones."""
        beam, operators = self.settings.beam_size, self.settings.operators
        is_new = chosen >= beam
        new = np.where(is_new, chosen - beam, 0)
        parent, rest = np.divmod(new, self.patterns.concept_count * len(operators))
        concept, operator = np.divmod(rest, len(operators))
        origin = np.where(is_new, parent, chosen)
        row = np.arange(len(chosen))[:, None]
        length = self.length[row, origin]
        steps, vectors = self.steps[row, origin], self.vectors[row, origin]
        unit, place = np.nonzero(is_new & (np.take_along_axis(ranks, chosen, 1) > _EMPTY))
        steps[unit, place, length[unit, place], 0] = operator[unit, place]
        steps[unit, place, length[unit, place], 1] = concept[unit, place]
        for number, joins in enumerate(operators):
            these = operator[unit, place] == number
            at = (unit[these], place[these])
            vectors[at] = self.patterns.joined(vectors[at], joins, concept[at])
        self.rank = np.take_along_axis(ranks, chosen, 1)
        self.score = np.where(is_new, np.take_along_axis(scores, new, 1), self.score[row, origin])
        self.intersection = np.where(is_new, np.take_along_axis(intersection, new, 1), self.intersection[row, origin])
        self.size = np.where(is_new, np.take_along_axis(size, new, 1), self.size[row, origin])
        self.length = length + is_new
        self.steps, self.vectors = steps, vectors

    def _best(self) -> list[ScoredFormula | None]:
        """Return the first formula of each beam."""
        return [
            ScoredFormula(self._formula(self.steps[unit, 0], int(self.length[unit, 0])), float(self.score[unit, 0]))
            if self.rank[unit, 0] > _EMPTY
            else None
            for unit in range(len(self.fires))
        ]

    def _formula(self, steps: Integers, length: int) -> Formula:
        rest = [(self.settings.operators[operator], int(concept)) for operator, concept in steps[1:length].tolist()]
        return Formula(int(steps[0, 1]), tuple(rest))


def stable_top(ranks: Floats, count: int) -> Integers:
    """Return the positions of the ``count`` largest values [n], largest first, of equal ones the earlier first."""
    if count < len(ranks):
        least = np.partition(ranks, len(ranks) - count)[len(ranks) - count]
        places = np.flatnonzero(ranks >= least)
    else:
        places = np.arange(len(ranks))
    return places[np.argsort(-ranks[places], kind="stable")][:count]
