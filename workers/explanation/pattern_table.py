"""Finds the patterns of a probe dataset sample by sample."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.errors import FaceterError, ProblemKind
from workers.explanation.key_index import KeyIndex
from workers.explanation.probe.dataset import ConceptRange, Integers, SampleConcepts
from workers.explanation.search.patterns import Patterns
from workers.jobs.division import Arrays
from workers.jobs.journal import State

MAX_PATTERNS = 4_000_000
"""Most patterns: each takes a few dozen bytes here, and 8 per unit of a slice in counts."""

_FIRST_KEYS = 2**62
_FURTHER_KEYS = 2**31


class PatternTable:
    """Numbers patterns in the order in which they appear.

    A pattern is one label per label map, and the concepts of the whole sample. All of them together make one integer
    key. Where it would not fit 62 bits, keys of the first label maps are numbered by an index of their own, and that
    number makes a key with the labels of the next maps.

    Args:
        label_maps: The concepts of each label map.
        concept_count: K.
    """

    def __init__(self, label_maps: Sequence[ConceptRange], concept_count: int) -> None:
        self._label_maps = list(label_maps)
        self._concept_count = concept_count
        self._chunks = _key_chunks([concepts.size + 1 for concepts in label_maps])
        self._chunk_keys = [KeyIndex() for _ in self._chunks[1:]]
        self._keys = KeyIndex()
        self._sample_sets: dict[tuple[int, ...], int] = {}
        self._sample_set_list: list[tuple[int, ...]] = []
        self._codes = np.zeros((64, len(label_maps) + 1), np.int32)
        self._weights = np.zeros(64, np.int64)

    def __len__(self) -> int:
        return len(self._keys)

    def ids(self, concepts: SampleConcepts, visible: NDArray[np.bool_] | None = None) -> NDArray[np.int32]:
        """Return the pattern of each pixel of a sample; new patterns get the next numbers.

        Args:
            concepts: The concepts of the sample.
            visible: Pixels that the model sees, bool [pixels]; all if not given.

        Returns:
            int32 [pixels]; −1 for pixels that the model does not see.

        Raises:
            FaceterError: ``DATASET_MISMATCH`` if there are more than `MAX_PATTERNS`.
        """
        labels = concepts.label_maps if visible is None else concepts.label_maps[:, visible]
        numbers = self._number(labels, self._sample_set(concepts.sample_level))
        if visible is None:
            return numbers
        ids = np.full(len(visible), -1, np.int32)
        ids[visible] = numbers
        return ids

    def count(self, ids: NDArray[np.int32]) -> Integers:
        """Add the pixels of a sample to the weights of their patterns; return these patterns, ascending."""
        patterns, counts = np.unique(ids[ids >= 0].astype(np.int64), return_counts=True)
        self._weights[patterns] += counts
        return patterns

    def concepts_of(self, ids: Integers) -> Integers:
        """Return the concepts of some patterns together, ascending."""
        concepts = [self._concepts(int(row)) for row in ids]
        return np.unique(np.concatenate(concepts)) if concepts else np.zeros(0, np.int64)

    def patterns(self) -> Patterns:
        """Return the patterns, weighted by the pixels counted so far."""
        count = len(self)
        labels = self._codes[:count, :-1].astype(np.int64)
        firsts = np.array([concepts.first for concepts in self._label_maps], np.int64)
        pattern, label_map = np.nonzero(labels)
        numbers = firsts[label_map] + labels[pattern, label_map] - 1
        sample_sets = [np.array(concepts, np.int64) for concepts in self._sample_set_list]
        lengths = np.array([len(concepts) for concepts in sample_sets], np.int64)[self._codes[:count, -1]]
        repeated = np.repeat(np.arange(count), lengths)
        added = [sample_sets[code] for code in self._codes[:count, -1]] if lengths.any() else []
        pairs = np.stack([np.concatenate([pattern, repeated]), np.concatenate([numbers, *added])])
        unique = np.unique(pairs[0] * self._concept_count + pairs[1]) if pairs.size else np.zeros(0, np.int64)
        owners, concepts = np.divmod(unique, max(self._concept_count, 1))
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(owners, minlength=count))])
        return Patterns(self._weights[:count].copy(), starts, concepts, self._concept_count)

    def state(self) -> State:
        """Return the state for a checkpoint."""
        lengths = np.array([len(concepts) for concepts in self._sample_set_list], np.int64)
        members = np.array([number for concepts in self._sample_set_list for number in concepts], np.int64)
        state: State = {"sample_set_lengths": lengths, "sample_set_members": members}
        state |= {"codes": self._codes[: len(self)], "weights": self._weights[: len(self)]}
        for number, index in enumerate([self._keys, *self._chunk_keys]):
            state[f"keys_{number}"] = index.keys
        return state

    def restore(self, state: Arrays) -> None:
        """Continue from a state."""
        parts = np.split(state["sample_set_members"], np.cumsum(state["sample_set_lengths"])[:-1])
        self._sample_set_list = [tuple(part.tolist()) for part in parts[: len(state["sample_set_lengths"])]]
        self._sample_sets = {concepts: number for number, concepts in enumerate(self._sample_set_list)}
        self._codes, self._weights = state["codes"].astype(np.int32), state["weights"].astype(np.int64)
        indices = [KeyIndex(state[f"keys_{number}"].tolist()) for number in range(1 + len(self._chunk_keys))]
        self._keys, *self._chunk_keys = indices

    def merge(self, other: PatternTable, lengths: Integers) -> Integers:
        """Add a table of the samples after those of this one; the result is that of one table for all of them.

        Args:
            other: Patterns of these samples alone, with the same label maps.
            lengths: How many patterns it had after each sample, int64 [n].

        Returns:
            The number of each of its patterns here, int64 [P].
        """
        numbers = np.zeros(len(other), np.int64)
        labels = other._codes[: len(other), :-1].astype(np.int64)
        start = 0
        for stop in np.unique(lengths[lengths > 0]).tolist():
            # the patterns that a sample brought; those that it shares with earlier samples have their numbers
            concepts = other._sample_set_list[other._codes[start, -1]]
            numbers[start:stop] = self._number(labels[start:stop].T, self._sample_set(concepts))
            start = stop
        self._weights[numbers] += other._weights[: len(other)]
        return numbers

    def _sample_set(self, concepts: tuple[int, ...]) -> int:
        """Return the number of a set of concepts of a whole sample."""
        if concepts not in self._sample_sets:
            self._sample_sets[concepts] = len(self._sample_set_list)
            self._sample_set_list.append(concepts)
        return self._sample_sets[concepts]

    def _number(self, labels: Integers, sample_set: int) -> NDArray[np.int32]:
        key = np.full(labels.shape[1], sample_set, np.int64)
        for place, chunk in enumerate(self._chunks):
            if place:
                key, _ = self._chunk_keys[place - 1].numbers(key)
            for label_map in chunk:
                key = key * (self._label_maps[label_map].size + 1) + labels[label_map]
        ids, new = self._keys.numbers(key)
        if len(new):
            self._add(labels, sample_set, ids, new)
        return ids.astype(np.int32)

    def _add(self, labels: Integers, sample_set: int, ids: Integers, new: Integers) -> None:
        """Add the patterns of the pixels at the positions ``new``."""
        if len(self) > MAX_PATTERNS:
            raise FaceterError(
                ProblemKind.DATASET_MISMATCH,
                f"Pixels carry more than {MAX_PATTERNS:,} different sets of concepts. Give a lower `resolution`, "
                "leave derived concepts out, or label fewer categories at once.",
                field="dataset_id",
            )
        if len(self) > len(self._codes):
            more = max(len(self) - len(self._codes), len(self._codes))
            self._codes = np.concatenate([self._codes, np.zeros((more, self._codes.shape[1]), np.int32)])
            self._weights = np.concatenate([self._weights, np.zeros(more, np.int64)])
        rows = ids[new]
        self._codes[rows, :-1] = labels[:, new].T
        self._codes[rows, -1] = sample_set

    def _concepts(self, pattern: int) -> Integers:
        code = self._codes[pattern]
        labelled = [maps.first + int(label) - 1 for maps, label in zip(self._label_maps, code, strict=False) if label]
        return np.array([*labelled, *self._sample_set_list[code[-1]]], np.int64)


def _key_chunks(sizes: Sequence[int]) -> list[list[int]]:
    """Split label maps into chunks whose labels fit one key together with the number of the chunk before."""
    chunks: list[list[int]] = [[]]
    room = _FIRST_KEYS // _FURTHER_KEYS
    for number, size in enumerate(sizes):
        if math.prod(sizes[label_map] for label_map in chunks[-1]) * size > room:
            chunks.append([])
            room = _FURTHER_KEYS
        chunks[-1].append(number)
    return chunks
