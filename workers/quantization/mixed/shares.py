"""How the budget of a run with a target is spent."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shares:
    """Settings of a run with a target.

    Args:
        synthesis: Share of the budget for inputs that are tuned on.
        inputs: Share for inputs that layers are weighed on and nothing else.
        weighing: Share of the time that weighing layers should take; a budget in steps takes as long as it takes.
        searching: Share that measuring rounded networks should take, likewise.
        tunings: Share of what is left for each tuning.
        expected: Where the first try is, rounding loses this many times what may be lost after tuning.
        resolution: Share of bytes below which another try is not worth it.
        adversary_bits: Bits of the network that inputs are sought against where there is no BatchNorm.
    """

    synthesis: float = 0.25
    inputs: float = 0.1
    weighing: float = 0.1
    searching: float = 0.1
    tunings: tuple[float, ...] = (0.5, 0.5, 1.0)
    expected: float = 5.0
    resolution: float = 0.03
    adversary_bits: int = 4
