"""Concepts of sentence pairs: words and tags of either sentence, and how many words both share.

References:
    Mu, Andreas, "Compositional explanations of neurons", NeurIPS 2020, section 4.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from faceter.datasets.pairs_file import TextPair

STOP_WORDS: Final = frozenset({"a", "an", "the", "of", ".", ","})
"""Function words, which are no concepts."""

NEIGHBORS: Final = 5
"""How many of the nearest words NEIGHBORS(w) has beside w."""

_OVERLAPS: Final = (25, 50, 75)
_SIDES: Final = ("pre", "hyp")


def list_concepts(pairs: Sequence[TextPair]) -> list[tuple[str, str]]:
    """Return the concepts of all pairs with their categories: words, tags, overlaps; the most frequent first."""
    counts = Counter(concept for pair in pairs for concept in concepts_of_pair(pair))
    order = {
        f"{side}:{kind}": place for place, (kind, side) in enumerate((k, s) for k in ("tok", "tag") for s in _SIDES)
    }
    return sorted(counts, key=lambda concept: (order.get(concept[1], len(order)), -counts[concept], concept[0]))


def concepts_of_pair(pair: TextPair) -> Iterator[tuple[str, str]]:
    """Yield the concepts of a pair with their categories, each once."""
    sides = (pair.premise, pair.hypothesis)
    for side, words in zip(_SIDES, sides, strict=True):
        for word in sorted(set(words) - STOP_WORDS):
            yield f"{side}:tok:{word}", f"{side}:tok"
    for side, tags in zip(_SIDES, (pair.premise_tags, pair.hypothesis_tags), strict=True):
        for tag in sorted(set(tags) - STOP_WORDS):
            yield f"{side}:tag:{tag}", f"{side}:tag"
    share = overlap(*sides)
    for percent in _OVERLAPS:
        if share > percent / 100:
            yield f"overlap-{percent}", "overlap"


def overlap(premise: Sequence[str], hypothesis: Sequence[str]) -> float:
    """Return the fraction of the hypothesis' distinct words that the premise has too, without stop words."""
    hypothesis_words, premise_words = set(hypothesis) - STOP_WORDS, set(premise) - STOP_WORDS
    return len(hypothesis_words & premise_words) / len(hypothesis_words) if hypothesis_words else 0.0


def nearest_words(
    words: Sequence[str], vectors: np.ndarray[tuple[int, int], np.dtype[np.float32]]
) -> dict[str, list[str]]:
    """Return the `NEIGHBORS` nearest words of each word by cosine similarity, the nearest first.

    Args:
        words: V words.
        vectors: Their embeddings, float32 [V, D]; words with a zero vector are left out.
    """
    exact = vectors.astype(np.float64)
    norms = np.linalg.norm(exact, axis=1)
    known = np.flatnonzero(norms > 0)
    normalized = exact[known] / norms[known, None]
    nearest: dict[str, list[str]] = {}
    for block in np.array_split(np.arange(len(known)), max(1, len(known) // 512)):
        cosines = normalized[block] @ normalized.T
        cosines[np.arange(len(block)), block] = -np.inf
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :NEIGHBORS]
        for row, others in zip(block, order, strict=True):
            nearest[words[known[row]]] = [
                words[known[other]] for other in others if np.isfinite(cosines[row - block[0], other])
            ]
    return nearest


def split_concept_name(name: str) -> tuple[str, str, str]:
    """Return side, kind and word of a concept's name, such as ``("hyp", "tok", "dog")``."""
    parts = name.split(":", 2)
    return (parts[0], parts[1], parts[2]) if len(parts) == 3 else ("", "", name)
