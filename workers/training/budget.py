"""The budget of a run, in seconds or in steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


class Budget:
    """A limit in seconds or in steps; schedules follow the used fraction of it.

    With a limit in steps that fraction, and so everything that is learned, depends on the steps taken only.

    Args:
        seconds: Limit in seconds of work, those before an interruption included.
        steps: Limit in steps; exactly one of the two limits is given.
        clock: Monotonic seconds.

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
        """The used fraction, 0 to 1."""
        if self.limit_steps is not None:
            return min(1.0, self.taken / self.limit_steps) if self.limit_steps else 1.0
        assert self.limit_seconds is not None
        return min(1.0, self.seconds / self.limit_seconds) if self.limit_seconds else 1.0

    @property
    def spent(self) -> bool:
        """Whether it is used up."""
        return self.fraction >= 1.0

    def count(self) -> None:
        """Count one step."""
        self.taken += 1

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint holds."""
        return {"taken": self.taken, "seconds": self.seconds}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state` returned."""
        self.taken = state["taken"]
        self._begun = self._clock() - state["seconds"]
