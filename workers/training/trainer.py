"""What is trained, as the training loop sees it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor

from workers.jobs.checkpoints import State

Losses = Mapping[str, Tensor | float]
"""Every loss of a step, by name, before it is weighted; tensors are scalars."""


class Trainer(ABC):
    """Networks and their optimizers, and how they take one more step.

    Attributes:
        rate: Factor on every learning rate, beside the schedule's. The loop lowers it after divergence, and keeps it
            in checkpoints; it is no part of :meth:`state`.
    """

    def __init__(self) -> None:
        self.rate = 1.0

    @property
    def phase(self) -> str:
        """Name of the phase it is in."""
        return "training"

    def enter_phase(self, fraction: float) -> None:  # noqa: B027, a trainer of one phase has nothing to do
        """Enter the phase that the next step is part of, if that is another.

        Args:
            fraction: Used fraction of the budget.
        """

    @abstractmethod
    def step(self, fraction: float) -> Losses:
        """Take one step of the current phase.

        Args:
            fraction: Used fraction of the budget, for schedules; the same that :meth:`enter_phase` got.
        """

    def finalize(self) -> None:  # noqa: B027, a trainer of one phase has nothing to do
        """Bring the networks to what was asked for, where they are at an earlier stage: no further step is taken."""

    def is_finite(self) -> bool:
        """Return whether all weights are finite; losses show it only a step later."""
        return True

    @abstractmethod
    def state(self) -> State:
        """Return everything that a later step depends on, not copied: tensors, numbers and text in dicts and lists."""

    @abstractmethod
    def restore(self, state: State) -> None:
        """Go on from what :meth:`state` returned."""
