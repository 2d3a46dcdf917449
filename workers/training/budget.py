"""How much of its time or of its steps a run has spent."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


class Budget:
    """A limit in seconds or in steps; schedules follow the share of it that is spent.

    With steps that share, and so all that is learned, depends on nothing but the steps taken.

    Args:
        seconds: Limit in seconds of work; those of a run that went before an interruption count.
        steps: Limit in steps. One of the two is given.
        clock: Seconds that only go up.

    Attributes:
        taken: Steps taken.
        limit_seconds: The limit in seconds; None if it is in steps.
        limit_steps: The limit in steps; None if it is in seconds.

    Raises:
        ValueError: If both limits are given, or none.
    """

    def __init__(
        self, *, seconds: float | None = None, steps: int | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if (seconds is None) == (steps is None):
            raise ValueError("a budget is in seconds or in steps")
        self.taken = 0
        self.limit_seconds = seconds
        self.limit_steps = steps
        self._clock = clock
        self._begun = clock()

    @property
    def seconds(self) -> float:
        """Seconds of work so far."""
        return self._clock() - self._begun

    @property
    def fraction(self) -> float:
        """The share that is spent, 0 to 1."""
        if self.limit_steps is not None:
            return min(1.0, self.taken / self.limit_steps) if self.limit_steps else 1.0
        assert self.limit_seconds is not None
        return min(1.0, self.seconds / self.limit_seconds) if self.limit_seconds else 1.0

    @property
    def spent(self) -> bool:
        """Whether nothing is left."""
        return self.fraction >= 1.0

    def count(self) -> None:
        """Count one step."""
        self.taken += 1

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"taken": self.taken, "seconds": self.seconds}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what a checkpoint kept."""
        self.taken = state["taken"]
        self._begun = self._clock() - state["seconds"]
