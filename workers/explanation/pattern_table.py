"""Finds the patterns of pixels as samples come, and numbers them in the order they are found."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.errors import FaceterError, ProblemKind
from workers.explanation.patterns import Patterns
from workers.explanation.samples import Group, Integers, Labels
from workers.jobs.journal import State

MOST_PATTERNS = 4_000_000
"""Most patterns: what is kept of each takes a few dozen bytes, and counts 8 for each unit of a slice."""

_FIRST_KEYS = 2**62
_FURTHER_KEYS = 2**31


class PatternTable:
    """The sets of concepts that were met, each told by one value per group and the concepts of the whole sample.

    Values are joined to one whole number, the key. Where it would not fit 62 bits, keys of the first groups are
    numbered by a table of their own and the number is joined with the values of the next ones.

    Args:
        groups: Concepts of which a pixel carries one at most.
        concept_count: K.
    """

    def __init__(self, groups: Sequence[Group], concept_count: int) -> None:
        self._groups = list(groups)
        self._concept_count = concept_count
        self._runs = _runs([group.size + 1 for group in groups])
        self._tables = [_Keys() for _ in self._runs[1:]]
        self._keys = _Keys()
        self._wholes: dict[tuple[int, ...], int] = {}
        self._whole_list: list[tuple[int, ...]] = []
        self._codes = np.zeros((64, len(groups) + 1), np.int32)
        self._weights = np.zeros(64, np.int64)

    def __len__(self) -> int:
        return len(self._keys)

    def ids(self, labels: Labels, visible: NDArray[np.bool_] | None = None) -> NDArray[np.int32]:
        """Return the pattern of each pixel of a sample; new ones get the next numbers.

        Args:
            labels: Its concepts.
            visible: Which pixels the model sees at all, bool [pixels]; all if not given.

        Returns:
            int32 [pixels]; −1 for pixels that are not seen.

        Raises:
            FaceterError: ``DATASET_MISMATCH`` if there are more patterns than can be held.
        """
        values = labels.values if visible is None else labels.values[:, visible]
        found = self._number(values, self._whole(labels.everywhere))
        if visible is None:
            return found
        ids = np.full(len(visible), -1, np.int32)
        ids[visible] = found
        return ids

    def count(self, ids: NDArray[np.int32]) -> Integers:
        """Count pixels of a sample's patterns; return these, rising."""
        found, counts = np.unique(ids[ids >= 0].astype(np.int64), return_counts=True)
        self._weights[found] += counts
        return found

    def concepts_of(self, ids: Integers) -> Integers:
        """Return all concepts of some patterns together, rising."""
        found = [self._concepts(int(row)) for row in ids]
        return np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)

    def patterns(self) -> Patterns:
        """Return the patterns with the pixels counted so far."""
        count = len(self)
        values = self._codes[:count, :-1].astype(np.int64)
        firsts = np.array([group.first for group in self._groups], np.int64)
        pattern, group = np.nonzero(values)
        numbers = firsts[group] + values[pattern, group] - 1
        wholes = [np.array(concepts, np.int64) for concepts in self._whole_list]
        lengths = np.array([len(concepts) for concepts in wholes], np.int64)[self._codes[:count, -1]]
        spread = np.repeat(np.arange(count), lengths)
        added = [wholes[code] for code in self._codes[:count, -1]] if lengths.any() else []
        pairs = np.stack([np.concatenate([pattern, spread]), np.concatenate([numbers, *added])])
        unique = np.unique(pairs[0] * self._concept_count + pairs[1]) if pairs.size else np.zeros(0, np.int64)
        of, concepts = np.divmod(unique, max(self._concept_count, 1))
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(of, minlength=count))])
        return Patterns(self._weights[:count].copy(), starts, concepts, self._concept_count)

    def state(self) -> State:
        """Return all that is known, as arrays."""
        lengths = np.array([len(whole) for whole in self._whole_list], np.int64)
        members = np.array([number for whole in self._whole_list for number in whole], np.int64)
        state: State = {"whole_lengths": lengths, "whole_members": members}
        state |= {"codes": self._codes[: len(self)], "weights": self._weights[: len(self)]}
        for number, keys in enumerate([self._keys, *self._tables]):
            state[f"keys_{number}"] = keys.known
        return state

    def restore(self, state: State) -> None:
        """Go on from what was known."""
        parts = np.split(state["whole_members"], np.cumsum(state["whole_lengths"])[:-1])
        self._whole_list = [tuple(part.tolist()) for part in parts[: len(state["whole_lengths"])]]
        self._wholes = {whole: number for number, whole in enumerate(self._whole_list)}
        self._codes, self._weights = state["codes"].astype(np.int32), state["weights"].astype(np.int64)
        self._keys, *self._tables = (_Keys(state[f"keys_{number}"].tolist()) for number in range(1 + len(self._tables)))

    def _whole(self, concepts: tuple[int, ...]) -> int:
        if concepts not in self._wholes:
            self._wholes[concepts] = len(self._whole_list)
            self._whole_list.append(concepts)
        return self._wholes[concepts]

    def _number(self, values: Integers, whole: int) -> NDArray[np.int32]:
        key = np.full(values.shape[1], whole, np.int64)
        for place, run in enumerate(self._runs):
            if place:
                key, _ = self._tables[place - 1].numbered(key)
            for group in run:
                key = key * (self._groups[group].size + 1) + values[group]
        ids, new = self._keys.numbered(key)
        if len(new):
            self._add(values, whole, ids, new)
        return ids.astype(np.int32)

    def _add(self, values: Integers, whole: int, ids: Integers, new: Integers) -> None:
        """Keep the values of new patterns, which these pixels have."""
        if len(self) > MOST_PATTERNS:
            raise FaceterError(
                ProblemKind.DATASET_MISMATCH,
                f"Pixels carry more than {MOST_PATTERNS:,} different sets of concepts. Give a lower `resolution`, "
                "leave derived concepts out, or label fewer categories at once.",
                field="dataset_id",
            )
        if len(self) > len(self._codes):
            more = max(len(self) - len(self._codes), len(self._codes))
            self._codes = np.concatenate([self._codes, np.zeros((more, self._codes.shape[1]), np.int32)])
            self._weights = np.concatenate([self._weights, np.zeros(more, np.int64)])
        rows = ids[new]
        self._codes[rows, :-1] = values[:, new].T
        self._codes[rows, -1] = whole

    def _concepts(self, pattern: int) -> Integers:
        code = self._codes[pattern]
        of_groups = [group.first + int(value) - 1 for group, value in zip(self._groups, code, strict=False) if value]
        return np.array([*of_groups, *self._whole_list[code[-1]]], np.int64)


class _Keys:
    """Whole numbers, each known by the order in which it came."""

    def __init__(self, known: Sequence[int] = ()) -> None:
        self._numbers = {key: number for number, key in enumerate(known)}

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def known(self) -> Integers:
        """All of them in that order."""
        return np.fromiter(self._numbers, np.int64, len(self))

    def numbered(self, keys: Integers) -> tuple[Integers, Integers]:
        """Return the number of each key, and for each key that is new a place at which it is."""
        unique, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        before = len(self)
        numbers = np.array([self._numbers.setdefault(key, len(self._numbers)) for key in unique.tolist()], np.int64)
        return numbers[inverse.reshape(-1)], first[numbers >= before]


def _runs(sizes: Sequence[int]) -> list[list[int]]:
    """Return the groups in runs whose values fit one key together with what is before them."""
    runs: list[list[int]] = [[]]
    room = _FIRST_KEYS // _FURTHER_KEYS
    for number, size in enumerate(sizes):
        if math.prod(sizes[group] for group in runs[-1]) * size > room:
            runs.append([])
            room = _FURTHER_KEYS
        runs[-1].append(number)
    return runs
