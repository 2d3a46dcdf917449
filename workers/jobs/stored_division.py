"""A job that divides itself by an operator's size of shards, and the shards of it, over the store."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import numpy as np
from redis import Redis
from rq.executions import Execution

from faceter.contracts.jobs import Training
from faceter.contracts.settings import Settings
from faceter.store import job_checkpoints, job_shards
from faceter.store.job_shards import PlannedShard, Round, StoredShard
from faceter.store.library import Library
from faceter.store.shard_ids import job_of
from workers.jobs.context import JobContext
from workers.jobs.division import Arrays, JobDividedError, Part, Shard, ShardDoneError
from workers.jobs.journal import State
from workers.jobs.scratch import scratch_folder
from workers.jobs.stages import Stage

_MIN_REPORT_SECONDS: Final = 0.5


class JobShards:
    """What a job and its shards read of each other.

    Args:
        library: Holds the results.
        redis: The store.
        job_id: The job.
    """

    def __init__(self, library: Library, redis: Redis, job_id: str) -> None:
        self.library, self.redis, self.job_id = library, redis, job_id
        self._kept: dict[str, State] = {}

    def find(self) -> list[StoredShard]:
        """Return the shards of all rounds so far."""
        return list(job_shards.find(self.redis, self.job_id).values())

    def parts(self, shards: Sequence[StoredShard]) -> list[Part]:
        """Return the parts of shards that are done."""
        return [
            Part(Shard(one.stage, one.start, one.stop, one.cost), partial(self.load, str(one.part))) for one in shards
        ]

    def earlier(self, round: str, shard: Shard) -> Arrays:
        """Return the part of an earlier round with the units of a shard."""
        part = next(
            one.part for one in self.find() if one.round == round and (one.start, one.stop) == (shard.start, shard.stop)
        )
        assert part is not None
        return self.load(part)

    def kept(self, name: str) -> Arrays | None:
        """Return what the job has kept under a name."""
        if name not in self._kept:
            sha256 = job_shards.kept(self.redis, self.job_id, name)
            if sha256 is None:
                return None
            self._kept[name] = self.load(sha256)
        return self._kept[name]

    def load(self, sha256: str) -> State:
        """Read a stored state."""
        with self.library.blobs.open(sha256) as file, np.load(file) as arrays:
            return dict(arrays)

    def store(self, settings: Settings, state: State, refer: Callable[[str], None]) -> None:
        """Store a state.

        Args:
            settings: Name the folder of temporary files.
            state: Its arrays.
            refer: Makes the job refer to the blob of that SHA-256.

        Raises:
            FaceterError: `STORAGE_FULL`, `STORE_UNAVAILABLE`.
        """
        with tempfile.TemporaryFile(dir=scratch_folder(settings)) as file:
            np.savez(file, **state)  # type: ignore[arg-type]
            file.seek(0)
            blob = self.library.store_blob(file)
        try:
            refer(blob.sha256)
        finally:
            self.library.discard_blob(blob.sha256)


class _StoredParts:
    """What has been computed of a job, read by the job and by its shards.

    Args:
        shards: Of the job.
    """

    def __init__(self, shards: JobShards) -> None:
        self._shards = shards

    def parts_of(self, stage: str) -> Sequence[Part]:
        """Return the parts of a stage of a round that is done; none if there are no shards of it."""
        return self._shards.parts([shard for shard in self._shards.find() if shard.stage == stage])

    def earlier(self, round: str, shard: Shard) -> Arrays:
        """Return the part of an earlier round with the units of a shard."""
        return self._shards.earlier(round, shard)

    def kept(self, name: str) -> Arrays | None:
        """Return what an earlier run of the job has kept; None if there is nothing."""
        return self._shards.kept(name)


class StoredDivision(_StoredParts):
    """The division of a job.

    Args:
        shards: Of the job.
        execution: The lease on the job.
        settings: Name the folder of temporary files.
        size: Size of shards; None if the operator divides no jobs.
    """

    computing: None = None

    def __init__(self, shards: JobShards, execution: Execution, settings: Settings, size: float | None) -> None:
        super().__init__(shards)
        self._execution, self._settings, self.size = execution, settings, size

    def parts(
        self,
        round: str,
        plan: Callable[[float], Sequence[Shard]],
        compute: Callable[[Shard, Stage], State],
        progress: Stage,
    ) -> Sequence[Part] | None:
        """Return the parts of a round that is done; None if its work is not to be divided.

        A job is divided if it has more work than a shard and there are several workers. A job with a checkpoint goes
        on from that, and one that was divided before is divided by the same size.

        Raises:
            JobDividedError: If the shards are yet to be computed.
        """
        stored = self._shards.find()
        done = [shard for shard in stored if shard.round == round]
        if done:
            return self._shards.parts(done)
        if stored:
            self.size = stored[0].size
        elif not self._may_divide():
            return None
        assert self.size is not None
        shards = plan(self.size)
        if sum(shard.cost for shard in shards) <= self.size:
            return None
        raise JobDividedError(round, shards, progress)

    def _may_divide(self) -> bool:
        redis, job_id = self._shards.redis, self._shards.job_id
        return (
            self.size is not None and job_shards.live_workers(redis) > 1 and job_checkpoints.find(redis, job_id) is None
        )

    def keep(self, name: str, state: State) -> None:
        """Keep a small result."""
        refer = partial(job_shards.keep, self._shards.redis, self._execution, name)
        self._shards.store(self._settings, state, refer)

    def divide(self, divided: JobDividedError) -> None:
        """Queue the shards of a round."""
        start, stop = divided.progress.span
        planned = [PlannedShard(shard.stage, shard.start, shard.stop, shard.cost) for shard in divided.shards]
        assert self.size is not None
        job_shards.divide(
            self._shards.redis,
            self._settings,
            self._execution,
            Round(divided.round, divided.progress.step, start, stop),
            planned,
            self.size,
        )


class ShardDivision(_StoredParts):
    """The division of a job, seen from one of its shards.

    Args:
        shards: Of the job.
        shard: The shard of this process.
        report: Takes the fraction of the shard that is done.
    """

    def __init__(self, shards: JobShards, shard: StoredShard, report: Callable[[float], None]) -> None:
        super().__init__(shards)
        self._shard, self._report = shard, report

    @property
    def computing(self) -> str:
        """Round of the shard."""
        return self._shard.round

    def parts(
        self,
        round: str,
        plan: Callable[[float], Sequence[Shard]],
        compute: Callable[[Shard, Stage], State],
        progress: Stage,
    ) -> Sequence[Part]:
        """Compute the shard.

        Raises:
            ShardDoneError: When its result is there.
        """
        assert round == self._shard.round, "a shard does nothing of another round"
        shard = Shard(self._shard.stage, self._shard.start, self._shard.stop, self._shard.cost)
        raise ShardDoneError(compute(shard, Stage(lambda _, fraction, __: self._report(fraction), progress.step)))

    def keep(self, name: str, state: State) -> None:
        """Do nothing: only the job keeps something."""


class ShardContext(JobContext):
    """One execution of one shard. It reports no progress but its own, and has no checkpoint.

    Args:
        shard: The shard.
    """

    def __init__(
        self, settings: Settings, library: Library, redis: Redis, execution: Execution, shard: StoredShard
    ) -> None:
        self.shards = JobShards(library, redis, job_of(execution.job_id))
        super().__init__(
            settings, library, redis, execution, division=ShardDivision(self.shards, shard, self._report_fraction)
        )
        self._step = f"shard of {shard.round!r}"
        self._fraction_at = -_MIN_REPORT_SECONDS

    def progress(self, step: str, fraction: float, training: Training | None = None) -> None:
        """Do nothing: the job has reported what comes before its shards."""

    def save_checkpoint(self, content: object) -> None:
        """Do nothing: a shard that was killed is done again."""

    def load_checkpoint(self) -> None:
        """Return None."""

    def finish(self, state: State) -> None:
        """End the shard with its result.

        Raises:
            LeaseLostError: If the job was canceled, or the shard given to another worker.
            FaceterError: `STORAGE_FULL`, `STORE_UNAVAILABLE`.
        """
        self.shards.store(self.settings, state, partial(job_shards.finish, self._redis, self._execution))

    def _report_fraction(self, fraction: float) -> None:
        now = time.monotonic()
        if now - self._fraction_at >= _MIN_REPORT_SECONDS:
            self._fraction_at = now
            job_shards.record_progress(self._redis, self._execution, fraction)
