"""Settings of bit allocation: how a run with a target spends its budget."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AllocationSettings:
    """Settings of a run with a target.

    Args:
        synthesis: Fraction of the budget for inputs that are tuned on.
        inputs: Fraction for inputs that only sensitivity is measured on.
        sensitivity: Fraction of the time for measuring sensitivity; a budget in steps sets no limit to it.
        search: Fraction of the time for measuring rounded networks; likewise.
        tunings: Fraction of the remaining budget for each tuning.
        rounding_factor: For the first tuning a point is chosen that loses this many times the allowed drop by
            rounding.
        resolution: Relative difference in bytes below which no further candidate is tuned.
    """

    synthesis: float = 0.25
    inputs: float = 0.1
    sensitivity: float = 0.1
    search: float = 0.1
    tunings: tuple[float, ...] = (0.5, 0.5, 1.0)
    rounding_factor: float = 5.0
    resolution: float = 0.03
