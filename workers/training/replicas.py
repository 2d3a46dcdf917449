"""Replicas: processes that train the same networks, each on its share of every batch.

Gradients are summed over the replicas, each loss weighted by its share of the batch, so that a step is that of one
process on the whole batch, to rounding. Everything else (weights, optimizers, schedules, random numbers) is computed by
every replica alike; what depends on time or on the job is decided by the first one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # a worker loads torch in its own time
    from torch import Tensor


class ReplicaLostError(Exception):
    """Another replica is gone: this attempt ends, and never to be caught by the job's own code."""


class ReplicaDoneError(Exception):
    """This replica has nothing more to do; not an error, and never to be caught by the job's own code."""


class Replicas:
    """The replicas of a training as one of them sees them; here it is alone, and every method does nothing.

    Attributes:
        rank: Number of this replica; 0 is the first, which reports, writes checkpoints and makes the result.
        count: Number of replicas.
    """

    rank: int = 0
    count: int = 1

    def join(self, most: int) -> None:
        """Begin to share the work of batches, once per job and before the first step.

        Args:
            most: Largest number of replicas that can share it, such as the batch size.

        Raises:
            ReplicaDoneError: If this replica is one too many.
            ReplicaLostError: If another does not come.
        """

    def leave(self) -> None:
        """End sharing: the first replica goes on alone.

        Raises:
            ReplicaDoneError: In all others.
        """

    def end_with_lost(self) -> None:
        """End this process as the lost replica has ended, after :class:`ReplicaLostError`; it may return."""

    @property
    def is_first(self) -> bool:
        """Whether this is the first replica."""
        return self.rank == 0

    def share(self, whole: int) -> slice:
        """Return the samples of a batch that are this replica's; shares differ by one sample at most.

        Args:
            whole: Size of the batch, at least the number of replicas.
        """
        return slice(whole * self.rank // self.count, whole * (self.rank + 1) // self.count)

    def weight(self, whole: int) -> float:
        """Return the fraction of a batch that is this replica's: the weight of its losses, which are means."""
        return len(range(whole)[self.share(whole)]) / whole

    def agreed(self, *values: float) -> Sequence[float]:
        """Return the values that the first replica gives."""
        return values

    def agreed_bytes(self, read: Callable[[], bytes | None]) -> bytes | None:
        """Return what the first replica reads; the others do not read it."""
        return read()

    def least(self, value: int) -> int:
        """Return the least of the values of all replicas."""
        return value

    def align(self, tensors: Iterable[Tensor]) -> None:
        """Give tensors the values of the first replica, in place."""

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace gradients by their sums over all replicas, in one exchange."""

    def sum_losses(self, losses: Mapping[str, Tensor], weight: float) -> dict[str, Tensor]:
        """Return the losses of the whole batch.

        Args:
            losses: Those of this replica's share, by name, scalars.
            weight: Their weight; see :meth:`weight`.
        """
        return dict(losses)

    def mean(self, value: Tensor, samples: int) -> Tensor:
        """Return the mean of a value over all replicas, weighted by samples, without gradients; float32 [].

        Args:
            value: That of this replica, a scalar.
            samples: Number of samples it is a mean over.
        """
        return value

    def gathered(self, part: Tensor, whole: int) -> Tensor:
        """Return the samples of all replicas in the order of the batch, without gradients.

        Args:
            part: This replica's, [share, …].
            whole: Size of the batch.
        """
        return part


ALONE: Final = Replicas()
"""A training in one process."""
