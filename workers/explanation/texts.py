"""Pairs of sentences: which words and tags are on which side, and how many words they share.

References:
    Mu, Andreas, "Compositional explanations of units", NeurIPS 2020, section 4.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, Literal

import numpy as np

from faceter.contracts.explanations import ExplanationRequest, Operator
from faceter.contracts.models import Model
from faceter.datasets.pair_lines import TextPair
from faceter.datasets.text_pairs import TextPairsDataset
from faceter.explanations.formulas import Concept
from workers.explanation.samples import Frame, Group, Integers, Labels, Read

STOP_WORDS: Final = frozenset({"a", "an", "the", "of", ".", ","})
"""Very common function words, which are no concepts."""

NEIGHBORS: Final = 5
"""How many of the nearest words `neighbors` takes beside the word itself."""

_OVERLAPS: Final = (25, 50, 75)
_SIDES: Final = ("pre", "hyp")


class TextSamples:
    """The pairs of a dataset; see `workers.explanation.samples.Samples`.

    Args:
        data: The dataset.
        model: Takes them.
        request: Whether `neighbors` is among the operators.
    """

    about: Literal["text"] = "text"
    grid = (1, 1)
    groups: tuple[Group, ...] = ()

    def __init__(self, data: TextPairsDataset, model: Model, request: ExplanationRequest) -> None:
        self._data = data
        self._premise, self._hypothesis = data.inputs_of(model.inputs, cut=request.cut_sentences)
        self.classes = _classes(data, model)
        self.concepts: list[Concept] = []
        self._numbers: dict[str, int] = {}
        for name, category in _plain_concepts(data.pairs):
            self._number(Concept(name, category))
        self._made: dict[int, list[int]] = {}
        if Operator.NEIGHBORS in request.joined_by:
            self._add_neighbors()
        self.notes = [*_notes(data), *self._cut_off()]

    @property
    def input_values(self) -> int:
        """How many values one pair has as the model's inputs."""
        return sum(self._lengths())

    def __len__(self) -> int:
        return len(self._data)

    def read(self, indices: Sequence[int]) -> Read:
        """Read some pairs."""
        premises, hypotheses = self._data.encoded(indices, *self._lengths())
        inputs = {
            self._premise.name: premises.astype(self._premise.dtype, copy=False),
            self._hypothesis.name: hypotheses.astype(self._hypothesis.dtype, copy=False),
        }
        return Read(inputs, [self._labels(self._data.pairs[index]) for index in indices], [Frame()] * len(indices))

    def _labels(self, pair: TextPair) -> Labels:
        plain = {self._numbers[name] for name, _ in _concepts_of(pair) if name in self._numbers}
        made = {number for concept in plain for number in self._made.get(concept, ())}
        return Labels(np.zeros((0, 1), np.int64), tuple(sorted(plain | made)))

    def _lengths(self) -> tuple[int, int]:
        """Return how many words of each side the model takes; where it takes any number, the longest there is."""
        fixed = (self._premise.shape[1], self._hypothesis.shape[1])
        first, second = (
            size if isinstance(size, int) else longest for size, longest in zip(fixed, self._data.longest, strict=True)
        )
        return first, second

    def _cut_off(self) -> list[str]:
        pairs = {one.pair for one in self._data.too_long_for((self._premise, self._hypothesis))}
        if not pairs:
            return []
        return [f"{len(pairs):,} pairs have a sentence longer than the model takes; the model saw its beginning."]

    def _number(self, concept: Concept) -> int:
        self._numbers[concept.name] = len(self.concepts)
        self.concepts.append(concept)
        return self._numbers[concept.name]

    def _add_neighbors(self) -> None:
        """Add NEIGHBORS(w) for each word concept whose word has a vector and neighbours that occur on that side."""
        vectors = self._data.vectors()
        if vectors is None:
            return
        nearest = nearest_words(*vectors)
        for concept in list(self.concepts):
            side, kind, word = _split(concept.name)
            if kind != "tok" or word not in nearest:
                continue
            around = [f"{side}:tok:{other}" for other in nearest[word]]
            members = [self._numbers[name] for name in (concept.name, *around) if name in self._numbers]
            if len(members) < 2:
                continue
            number = self._number(
                Concept(f"NEIGHBORS({concept.name})", f"{concept.category}, neighbors", neighbors_of=concept.name)
            )
            for member in members:
                self._made.setdefault(member, []).append(number)


def nearest_words(
    words: Sequence[str], vectors: np.ndarray[tuple[int, int], np.dtype[np.float32]]
) -> dict[str, list[str]]:
    """Return the words nearest to each word, by the cosine of their vectors, the nearest first.

    Args:
        words: V words.
        vectors: float32 [V, D]; a word whose vector is 0 has no neighbours and is none.
    """
    exact = vectors.astype(np.float64)
    norms = np.linalg.norm(exact, axis=1)
    known = np.flatnonzero(norms > 0)
    unit = exact[known] / norms[known, None]
    found: dict[str, list[str]] = {}
    for part in np.array_split(np.arange(len(known)), max(1, len(known) // 512)):
        likeness = unit[part] @ unit.T
        likeness[np.arange(len(part)), part] = -np.inf
        order = np.argsort(-likeness, axis=1, kind="stable")[:, :NEIGHBORS]
        for row, others in zip(part, order, strict=True):
            found[words[known[row]]] = [
                words[known[other]] for other in others if np.isfinite(likeness[row - part[0], other])
            ]
    return found


def _plain_concepts(pairs: Sequence[TextPair]) -> list[tuple[str, str]]:
    """Return the concepts that occur, with their categories: words of either side, tags, overlaps; the usual first."""
    counts = Counter(found for pair in pairs for found in _concepts_of(pair))
    order = {
        f"{side}:{kind}": place for place, (kind, side) in enumerate((k, s) for k in ("tok", "tag") for s in _SIDES)
    }
    return sorted(counts, key=lambda found: (order.get(found[1], len(order)), -counts[found], found[0]))


def _concepts_of(pair: TextPair) -> Iterator[tuple[str, str]]:
    """Yield the concepts of a pair, none twice, with their categories."""
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
    """Return the share of the hypothesis' different words that the premise has too, function words left out."""
    ours, theirs = set(hypothesis) - STOP_WORDS, set(premise) - STOP_WORDS
    return len(ours & theirs) / len(ours) if ours else 0.0


def _split(name: str) -> tuple[str, str, str]:
    parts = name.split(":", 2)
    return (parts[0], parts[1], parts[2]) if len(parts) == 3 else ("", "", name)


def _classes(data: TextPairsDataset, model: Model) -> Integers | None:
    return data.sample_labels(model.metadata.labels) if model.metadata.task.classifies else None


def _notes(data: TextPairsDataset) -> list[str]:
    unknown = data.unknown_words
    if not unknown:
        return []
    return [
        f"{len(unknown):,} words ({sum(unknown.values()):,} places) are not in the vocabulary, so that the model takes "
        "all of them for one."
    ]
