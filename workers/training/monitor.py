"""What is measured while a run goes on."""

from __future__ import annotations

from collections.abc import Mapping

from workers.jobs.checkpoints import State

Measured = Mapping[str, float | None]
"""Measurements by name; None where there is nothing to measure on."""


class Monitor:
    """Measures the networks now and then, and may keep the best; this one does nothing."""

    def measure(self, step: int) -> Measured | None:
        """Measure the networks after a step; None if they cannot be measured yet."""
        return None

    def finalize(self, step: int) -> Measured | None:
        """Measure the networks after the last step; None if that is of no use."""
        return None

    def state(self) -> State:
        """Return what a checkpoint holds, not copied."""
        return {}

    def restore(self, state: State) -> None:
        """Go on from what :meth:`state` returned."""
