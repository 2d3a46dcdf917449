"""Compositional explanations as published, with one pixel mask per formula."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Candidate:
    """A formula with its mask."""

    text: str
    """Its text, with parentheses around every join."""
    mask: Mask
    """bool [pixels]."""
    length: int
    """Number of concepts."""
    score: float
    """IoU."""


def iou(unit: Mask, formula: Mask) -> float:
    """Return |M ∧ F| / |M ∨ F|."""
    union = int((unit | formula).sum())
    return int((unit & formula).sum()) / union if union else 0.0


def beam_search(
    unit: Mask,
    concepts: Sequence[Mask],
    candidates: Sequence[int],
    operators: Sequence[str] = ("or", "and", "and_not"),
    beam_size: int = 5,
    max_length: int = 3,
    penalty: float = 1.0,
) -> list[Candidate]:
    """Return the best formula after each step of the published procedure (Mu & Andreas 2020)."""
    singles = [Candidate(str(k), concepts[k], 1, iou(unit, concepts[k])) for k in candidates]
    beam = _best([single for single in singles if single.score > 0], beam_size, penalty)
    best = beam[:1]
    for _ in range(1, max_length):
        new = [
            longer
            for formula in beam
            for k in candidates
            for longer in joined(unit, formula, k, concepts[k], operators)
        ]
        beam = _best([*beam, *new], beam_size, penalty)
        best.extend(beam[:1])
    return best


def joined(unit: Mask, formula: Candidate, k: int, concept: Mask, operators: Sequence[str]) -> Iterator[Candidate]:
    """Yield a formula joined with a concept by each operator."""
    masks = {"or": formula.mask | concept, "and": formula.mask & concept, "and_not": formula.mask & ~concept}
    for operator in operators:
        mask = masks[operator]
        yield Candidate(f"({formula.text} {operator} {k})", mask, formula.length + 1, iou(unit, mask))


def every_formula(unit: Mask, concepts: Sequence[Mask], operators: Sequence[str], max_length: int) -> list[Candidate]:
    """Return all formulas of up to so many concepts, the short ones first."""
    shorter = [Candidate(str(k), concept, 1, iou(unit, concept)) for k, concept in enumerate(concepts)]
    formulas = list(shorter)
    for _ in range(1, max_length):
        shorter = [
            longer
            for formula in shorter
            for k, concept in enumerate(concepts)
            for longer in joined(unit, formula, k, concept, operators)
        ]
        formulas.extend(shorter)
    return formulas


def ceiling(unit: Mask, patterns: NDArray[np.int64], labelled: Sequence[int]) -> float:
    """Return the highest IoU of any set of patterns, by enumeration.

    Args:
        unit: bool [pixels].
        patterns: Pattern of each pixel, int64 [pixels].
        labelled: Patterns with a concept.
    """
    best = 0.0
    for chosen in range(1 << len(labelled)):
        mask = np.isin(patterns, [pattern for place, pattern in enumerate(labelled) if chosen >> place & 1])
        best = max(best, iou(unit, mask))
    return best


def _best(formulas: Sequence[Candidate], count: int, penalty: float) -> list[Candidate]:
    return sorted(formulas, key=lambda formula: -formula.score * penalty ** (formula.length - 1))[:count]
