"""A division whose shards are computed in this process, each by a run of its own, in the order of a test."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from workers.jobs.division import JobDividedError, Part, Shard, ShardDoneError
from workers.jobs.journal import State
from workers.jobs.stages import Stage

T = TypeVar("T")


class LocalDivision:
    """What a job and its shards have in common.

    Args:
        size: Largest cost of a shard.
        order: Returns the shards of a round in the order in which they are computed.
    """

    def __init__(self, size: float, order: Callable[[list[Shard]], Sequence[Shard]] = lambda shards: shards) -> None:
        self.size, self.order = size, order
        self.rounds: dict[str, list[Shard]] = {}
        self.states: dict[tuple[str, Shard], State] = {}
        self.kept_states: dict[str, State] = {}
        self._shard: Shard | None = None
        self._round: str | None = None

    @property
    def computing(self) -> str | None:
        return self._round

    def parts(
        self,
        round: str,
        plan: Callable[[float], Sequence[Shard]],
        compute: Callable[[Shard, Stage], State],
        progress: Stage,
    ) -> Sequence[Part]:
        if self._shard is not None:
            assert round == self.computing, "a shard does nothing of another round"
            raise ShardDoneError(compute(self._shard, progress))
        if round not in self.rounds:
            raise JobDividedError(round, plan(self.size), progress)
        return self.parts_done(round)

    def parts_done(self, round: str) -> list[Part]:
        return [Part(shard, partial(self.states.__getitem__, (round, shard))) for shard in self.rounds[round]]

    def parts_of(self, stage: str) -> Sequence[Part]:
        return [part for name in self.rounds for part in self.parts_done(name) if part.shard.stage == stage]

    def earlier(self, round: str, shard: Shard) -> State:
        return self.states[round, shard]

    def kept(self, name: str) -> State | None:
        return self.kept_states.get(name)

    def keep(self, name: str, state: State) -> None:
        self.kept_states[name] = {key: values.copy() for key, values in state.items()}

    def run(self, job: Callable[[], T]) -> T:
        """Run a job to its end: again after each round, and once for each shard."""
        while True:
            try:
                return job()
            except JobDividedError as divided:
                self.rounds[divided.round] = divided.shards
                for shard in self.order(divided.shards):
                    self._round, self._shard = divided.round, shard
                    try:
                        job()
                    except ShardDoneError as done:
                        self.states[divided.round, shard] = {name: values.copy() for name, values in done.state.items()}
                    finally:
                        self._round = self._shard = None
