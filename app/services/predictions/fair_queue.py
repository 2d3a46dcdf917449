"""A queue that serves models in turn, urgent requests first."""

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

T = TypeVar("T")

URGENCIES: Final = 8
"""Urgencies of requests as in RFC 9218: 0 is the most urgent, 7 the least."""
_STRICT_TURNS: Final = 8
"""Every so many turns the item that has waited longest is taken, so that urgent ones never stop the others."""


class FairQueue(Generic[T]):
    """Items that wait under a key, such as requests of a model. Not safe for threads.

    The most urgent items come first; among these the key whose last turn was longest ago, and its oldest item.
    """

    def __init__(self) -> None:
        self._levels: list[OrderedDict[str, deque[tuple[int, T]]]] = [OrderedDict() for _ in range(URGENCIES)]
        self._waiting: dict[str, int] = {}
        self._added = 0
        self._turns = 0

    def __len__(self) -> int:
        return sum(self._waiting.values())

    def waiting(self, key: str) -> int:
        """Return the number of items that wait under a key."""
        return self._waiting.get(key, 0)

    def add(self, key: str, urgency: int, item: T) -> None:
        """Add an item of an urgency from 0 to 7."""
        self._added += 1
        self._levels[urgency].setdefault(key, deque()).append((self._added, item))
        self._waiting[key] = self.waiting(key) + 1

    def pop(self, allowed: Callable[[str], bool] = lambda _: True) -> T | None:
        """Remove and return the next item whose key is allowed a turn; None if there is none."""
        candidates = [
            (urgency, key, items[0][0])
            for urgency, level in enumerate(self._levels)
            for key, items in level.items()
            if allowed(key)
        ]
        if not candidates:
            return None
        self._turns += 1
        oldest = self._turns % _STRICT_TURNS == 0
        urgency, key, _ = min(candidates, key=lambda item: item[2]) if oldest else candidates[0]
        level = self._levels[urgency]
        _, item = level[key].popleft()
        if level[key]:
            level.move_to_end(key)
        else:
            del level[key]
        self._forget(key)
        return item

    def remove(self, key: str, urgency: int, item: T) -> bool:
        """Remove an item that waits; return whether it did."""
        items = self._levels[urgency].get(key, deque())
        for entry in items:
            if entry[1] is item:
                items.remove(entry)
                if not items:
                    del self._levels[urgency][key]
                self._forget(key)
                return True
        return False

    def _forget(self, key: str) -> None:
        self._waiting[key] -= 1
        if not self._waiting[key]:
            del self._waiting[key]
