"""Consecutive numbers for integer keys."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from workers.explanation.probe.dataset import Integers


class KeyIndex:
    """Numbers integer keys in the order in which they first appear."""

    def __init__(self, keys: Sequence[int] = ()) -> None:
        self._numbers = {key: number for number, key in enumerate(keys)}

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def keys(self) -> Integers:
        """All keys, by number."""
        return np.fromiter(self._numbers, np.int64, len(self))

    def numbers(self, keys: Integers) -> tuple[Integers, Integers]:
        """Return the number of each key, and for each new key the first position at which it appears."""
        unique, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        before = len(self)
        numbers = np.array([self._numbers.setdefault(key, len(self._numbers)) for key in unique.tolist()], np.int64)
        return numbers[inverse.reshape(-1)], first[numbers >= before]
