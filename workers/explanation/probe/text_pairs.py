"""Probe datasets of sentence pairs: one pair is one pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from faceter.contracts.explanations import ExplanationRequest, Operator
from faceter.contracts.models import Model
from faceter.datasets.pairs_file import TextPair
from faceter.datasets.text_pairs import TextPairsDataset
from faceter.explanations.formulas import Concept
from workers.explanation.probe.dataset import ConceptRange, InputPlacement, Integers, ProbeBatch, SampleConcepts
from workers.explanation.probe.pair_concepts import concepts_of_pair, list_concepts, nearest_words, split_concept_name


class TextPairProbeDataset:
    """A `ProbeDataset` of sentence pairs.

    Args:
        data: The dataset.
        model: The model to run on it.
        request: Says whether NEIGHBORS is among the operators.
    """

    about: Literal["text"] = "text"
    grid = (1, 1)
    label_maps: tuple[ConceptRange, ...] = ()

    def __init__(self, data: TextPairsDataset, model: Model, request: ExplanationRequest) -> None:
        self._data = data
        self._premise, self._hypothesis = data.matching_inputs(model.inputs, cut=request.cut_sentences)
        self.classes = _classes(data, model)
        self.concepts: list[Concept] = []
        self._numbers: dict[str, int] = {}
        for name, category in list_concepts(data.pairs):
            self._add(Concept(name, category))
        self._neighborhoods: dict[int, list[int]] = {}
        if Operator.NEIGHBORS in request.joined_by:
            self._add_neighbors()
        self.warnings = [*_unknown_words(data), *self._cut_off()]

    @property
    def input_size(self) -> int:
        """Words of one pair, both inputs together."""
        return sum(self._lengths())

    def __len__(self) -> int:
        return len(self._data)

    def read(self, indices: Sequence[int]) -> ProbeBatch:
        """Read some pairs."""
        premises, hypotheses = self._data.encoded(indices, *self._lengths())
        inputs = {
            self._premise.name: premises.astype(self._premise.dtype, copy=False),
            self._hypothesis.name: hypotheses.astype(self._hypothesis.dtype, copy=False),
        }
        concepts = [self._concepts(self._data.pairs[index]) for index in indices]
        return ProbeBatch(inputs, concepts, [InputPlacement()] * len(indices))

    def _concepts(self, pair: TextPair) -> SampleConcepts:
        own = {self._numbers[name] for name, _ in concepts_of_pair(pair) if name in self._numbers}
        neighborhoods = {number for concept in own for number in self._neighborhoods.get(concept, ())}
        return SampleConcepts(np.zeros((0, 1), np.int64), tuple(sorted(own | neighborhoods)))

    def _lengths(self) -> tuple[int, int]:
        """Return how many words the model takes of each side; with a free axis, those of the longest sentence."""
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

    def _add(self, concept: Concept) -> int:
        self._numbers[concept.name] = len(self.concepts)
        self.concepts.append(concept)
        return self._numbers[concept.name]

    def _add_neighbors(self) -> None:
        """Add NEIGHBORS(w) for each word concept w with an embedding and neighbours that occur on the same side."""
        vectors = self._data.vectors()
        if vectors is None:
            return
        nearest = nearest_words(*vectors)
        for concept in list(self.concepts):
            side, kind, word = split_concept_name(concept.name)
            if kind != "tok" or word not in nearest:
                continue
            names = (concept.name, *(f"{side}:tok:{other}" for other in nearest[word]))
            members = [self._numbers[name] for name in names if name in self._numbers]
            if len(members) < 2:
                continue
            number = self._add(
                Concept(f"NEIGHBORS({concept.name})", f"{concept.category}, neighbors", neighbors_of=concept.name)
            )
            for member in members:
                self._neighborhoods.setdefault(member, []).append(number)


def _classes(data: TextPairsDataset, model: Model) -> Integers | None:
    return data.sample_labels(model.metadata.labels) if model.metadata.task.classifies else None


def _unknown_words(data: TextPairsDataset) -> list[str]:
    unknown = data.unknown_words
    if not unknown:
        return []
    return [
        f"{len(unknown):,} words ({sum(unknown.values()):,} occurrences) are not in the vocabulary; the model treats "
        "all of them as one word."
    ]
