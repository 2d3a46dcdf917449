"""Division of a job into shards: parts of its work that several workers compute, each once.

The work of a *round* is a list of units, and a shard is a range of them. A job is run again after each round, finds the
parts of its shards, and merges them in the order of their units, so that the result does not depend on the division.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from numpy.typing import NDArray

from workers.jobs.journal import State
from workers.jobs.stages import Stage

T = TypeVar("T")

Arrays = Mapping[str, NDArray[Any]]
"""A stored state; an array is read when it is asked for."""


@dataclass(frozen=True)
class Shard:
    """A range of the units of one stage of work."""

    stage: str
    """Name of the work, such as ``real``."""
    start: int
    """First unit."""
    stop: int
    """Unit after the last."""
    cost: float
    """Its work, in any measure."""

    def of(self, units: Sequence[T]) -> Sequence[T]:
        """Return its units."""
        return units[self.start : self.stop]


@dataclass(frozen=True)
class Part:
    """The result of a shard."""

    shard: Shard
    """The shard."""
    load: Callable[[], Arrays]
    """Reads the result."""


class JobDividedError(Exception):
    """The job goes on when these shards are done; not an error, and never to be caught by the job's own code.

    Args:
        round: Name of the round.
        shards: All shards of it.
        progress: The part of the job that they are.
    """

    def __init__(self, round: str, shards: Sequence[Shard], progress: Stage) -> None:
        super().__init__(f"divided into {len(shards)} shards")
        self.round, self.shards, self.progress = round, list(shards), progress


class ShardDoneError(Exception):
    """The shard of this process is done; not an error, and never to be caught by the job's own code.

    Args:
        state: Its result.
    """

    def __init__(self, state: State) -> None:
        super().__init__("shard done")
        self.state = state


class Division(Protocol):
    """How a job is divided."""

    @property
    def computing(self) -> str | None:
        """Round of the shard of this process; None in the process of the job itself."""

    def parts(
        self,
        round: str,
        plan: Callable[[float], Sequence[Shard]],
        compute: Callable[[Shard, Stage], State],
        progress: Stage,
    ) -> Sequence[Part] | None:
        """Return the parts of a round in the order of the plan; None if the job is to do the work itself.

        Args:
            round: Its name.
            plan: Returns the shards for a size of shards; see `plan_shards`.
            compute: Computes one shard; called in a shard's process only.
            progress: The part of the job that the round is.

        Raises:
            JobDividedError: If the shards are yet to be computed.
            ShardDoneError: In a shard's process, when its result is there.
        """

    def parts_of(self, stage: str) -> Sequence[Part]:
        """Return the parts of a stage of a round that is done; none if there are no shards of it."""

    def earlier(self, round: str, shard: Shard) -> Arrays:
        """Return the part of an earlier round with the units of this shard."""

    def kept(self, name: str) -> Arrays | None:
        """Return what an earlier run of the job has kept for its shards and later runs; None if there is nothing."""

    def keep(self, name: str, state: State) -> None:
        """Keep a small result for the shards of later rounds, and for later runs of the job."""


class Undivided:
    """A job that does all of its work itself."""

    @property
    def computing(self) -> None:
        """None."""

    def parts(
        self,
        round: str,
        plan: Callable[[float], Sequence[Shard]],
        compute: Callable[[Shard, Stage], State],
        progress: Stage,
    ) -> None:
        """Return nothing."""

    def parts_of(self, stage: str) -> Sequence[Part]:
        """Return nothing."""
        return ()

    def earlier(self, round: str, shard: Shard) -> Arrays:
        """Raise an error, since there are no shards."""
        raise LookupError(round)

    def kept(self, name: str) -> None:
        """Return nothing."""

    def keep(self, name: str, state: State) -> None:
        """Do nothing."""


UNDIVIDED: Final[Division] = Undivided()
"""What divides nothing."""


def plan_shards(stage: str, costs: Sequence[float], size: float) -> list[Shard]:
    """Return shards of consecutive units, alike in cost and each at most ``size``, or one unit where that exceeds it.

    Args:
        stage: Name of the work.
        costs: Cost of each unit.
        size: Largest cost of a shard.
    """
    return list(_ranges(stage, costs, size))


def _ranges(stage: str, costs: Sequence[float], size: float) -> Iterator[Shard]:
    left = sum(costs)
    shards = max(1, math.ceil(left / size))
    start, cost = 0, 0.0
    for unit, more in enumerate(costs):
        if unit > start and (cost + more > size or cost >= left / shards - more / 2):
            yield Shard(stage, start, unit, cost)
            left, shards = left - cost, max(1, shards - 1)
            start, cost = unit, 0.0
        cost += more
    if len(costs) > start:
        yield Shard(stage, start, len(costs), cost)
