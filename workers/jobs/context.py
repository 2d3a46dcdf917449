"""The context of a job: its library, progress, checkpoints, and the records it makes."""

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, BinaryIO, Final, TypeVar

from pydantic import TypeAdapter
from redis import Redis
from redis.client import Pipeline
from rq.executions import Execution

from faceter.contracts.base import StoredRecord, utc_now
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.jobs import JobResult, Progress, Training
from faceter.contracts.references import ResourceReference
from faceter.contracts.settings import Settings
from faceter.resources import resource_of
from faceter.store import job_checkpoints, job_records, job_steps
from faceter.store.blobs import StoredBlob
from faceter.store.library import Library, files_of
from workers.jobs.division import UNDIVIDED, Division
from workers.jobs.stages import Stages
from workers.training.replicas import ALONE, Replicas

_log = logging.getLogger("faceter.worker")

S = TypeVar("S")

_MIN_REPORT_SECONDS: Final = 0.5
_MIN_ETA_FRACTION: Final = 0.02
_STOP_CHECK_SECONDS: Final = 1.0
_TRANSIENT: Final = (ProblemKind.STORAGE_FULL, ProblemKind.STORE_UNAVAILABLE)

_current: ContextVar["JobContext"] = ContextVar("current job")


class JobContext:
    """One execution of one job.

    Args:
        execution: The lease on the job.
        clock: Monotonic seconds.
        division: How the job is divided.
        done: Fraction of the job that was done before.
    """

    division: Division = UNDIVIDED
    """How the job is divided."""
    replicas: Replicas = ALONE
    """The processes that share the job's training."""

    def __init__(
        self,
        settings: Settings,
        library: Library,
        redis: Redis,
        execution: Execution,
        clock: Callable[[], float] = time.monotonic,
        division: Division | None = None,
        done: float = 0.0,
    ) -> None:
        self.settings = settings
        self.division = division or self.division
        self.library = library
        self.job_id: str = execution.job_id
        self._redis = redis
        self._execution = execution
        self._clock = clock
        self._eta_base: tuple[float, float] | None = (clock(), done)
        self._reported_at = -_MIN_REPORT_SECONDS
        self._step = ""
        self._fraction = done
        self._stored: list[str] = []
        self._records: list[StoredRecord] = []
        self._stop_checked_at = -_STOP_CHECK_SECONDS
        self._stop = False

    def new_id(self, prefix: str) -> str:
        """Return the id of a record of this job: ``prefix`` and the job's characters, the same in every attempt."""
        return f"{prefix}_{self.job_id.partition('_')[2]}"

    def progress(self, step: str, fraction: float, training: Training | None = None) -> None:
        """Report progress. Cheap enough for an inner loop: at most two writes a second, and one per new step.

        Args:
            step: What the job is doing, in a few words.
            fraction: How much of the job is done, 0 to 1. A lower one than before, as after going back to a checkpoint,
                counts as that before.
            training: Losses and measurements of a job that trains; losses that are not finite are left out.

        Raises:
            LeaseLostError: If the job was canceled or given to another worker; do not catch it.
        """
        self._fraction = round(min(1.0, max(fraction, self._fraction)), 4)
        now = self._clock()
        if step == self._step and now - self._reported_at < _MIN_REPORT_SECONDS:
            return
        if step != self._step:
            _log.info("job %s: %s", self.job_id, step)
        self._step, self._reported_at = step, now
        progress = Progress(
            step=step,
            fraction=self._fraction,
            eta_seconds=self._eta(now),
            training=None if training is None else _finite(training),
            updated_at=utc_now(),
        )
        job_steps.record_progress(self._redis, self._execution, progress)

    def _eta(self, now: float) -> float | None:
        """Return the seconds left at the pace since the start, or since the checkpoint; None at first."""
        if self._eta_base is None:
            self._eta_base = (now, self._fraction)
        since, already = self._eta_base
        done = self._fraction - already
        if done < _MIN_ETA_FRACTION and self._fraction < 1:
            return None
        return round((now - since) * (1 - self._fraction) / max(done, _MIN_ETA_FRACTION), 1)

    @property
    def step(self) -> str:
        """What the job reported last that it is doing; empty at first."""
        return self._step

    def stages(self, weights: Mapping[str, float]) -> Stages:
        """Divide the job into weighted stages that report to :meth:`progress`.

        Args:
            weights: Expected seconds of each stage, in order, by the step that is reported; only ratios count.
        """
        return Stages(self.progress, weights)

    def store_blob(self, source: BinaryIO | bytes) -> StoredBlob:
        """Store a file of a record; it is deleted again if the job fails.

        Raises:
            FaceterError: `STORAGE_FULL`, `STORE_UNAVAILABLE`.
        """
        blob = self.library.store_blob(source)
        self._stored.append(blob.sha256)
        return blob

    def add(self, record: StoredRecord) -> ResourceReference:
        """Add a record, its files stored with `store_blob`, and return the reference to it.

        It appears in the library when the job succeeds, and not at all if it fails.
        """
        self._records.append(record)
        return resource_of(record).reference(record)

    def result(self, record: StoredRecord, *by_products: StoredRecord) -> JobResult:
        """Add a record and its by-products, and return the job's result, which names them."""
        reference, *others = [self.add(each) for each in (record, *by_products)]
        return JobResult(resource=reference.resource, id=reference.id, by_products=others)

    def stop_requested(self) -> bool:
        """Return whether the job was asked to finish early with the best it has.

        Cheap enough for an inner loop: reads the store at most once a second, and no more once it was asked.
        """
        now = self._clock()
        if not self._stop and now - self._stop_checked_at >= _STOP_CHECK_SECONDS:
            self._stop_checked_at = now
            self._stop = job_records.is_ending(self._redis, self.job_id)
        return self._stop

    def save_checkpoint(self, content: BinaryIO | bytes) -> None:
        """Store a checkpoint for later attempts, in place of the one before.

        It outlives this process and its worker, and is deleted when the job ends. If the blob store is full or cannot
        be reached, the log says so, the checkpoint before stays in force, and the job goes on.

        Raises:
            LeaseLostError: If the job was canceled or given to another worker; do not catch it.
        """
        try:
            blob = self.library.store_blob(content)
            try:
                job_checkpoints.save(self._redis, self._execution, blob.sha256)
            finally:
                self.library.discard_blob(blob.sha256)
            self.library.delete_released()
        except FaceterError as error:
            if error.kind not in _TRANSIENT:
                raise
            _log.warning("job %s goes on without a new checkpoint: %s", self.job_id, error)

    def load_checkpoint(self) -> bytes | None:
        """Return the last checkpoint of this job, of this attempt or an earlier one; None if there is none.

        If its blob is lost, the log says so and there is none. The estimate of the time left then starts from the next
        progress.

        Raises:
            FaceterError: `STORE_UNAVAILABLE`.
        """
        sha256 = job_checkpoints.find(self._redis, self.job_id)
        if sha256 is None:
            return None
        try:
            content = self.library.blobs.read(sha256)
        except FaceterError as error:
            if error.kind is not ProblemKind.BLOB_MISSING:
                raise
            _log.warning("job %s starts from the beginning, since its checkpoint is lost: %s", self.job_id, error)
            return None
        self._eta_base = None
        return content

    def succeed(self, result: JobResult) -> None:
        """End the job: record its result and publish its records, in one transaction. Called by the worker.

        Raises:
            LeaseLostError: If the job was canceled or given to another worker; nothing is published.
        """
        provenance = next((record.provenance for record in self._records if record.id == result.id), None)
        job_steps.succeed(self._redis, self._execution, result, provenance, self._publish)
        self._stored = list((Counter(self._stored) - Counter(self._published())).elements())

    def discard(self) -> None:
        """Delete the stored files that no published record has: all of them, if the job failed.

        Called by the worker once the job has ended.

        Raises:
            FaceterError: `STORE_UNAVAILABLE`; a sweep deletes them later.
        """
        while self._stored:
            self.library.discard_blob(self._stored.pop())
        self.library.delete_released()

    def _publish(self, pipeline: Pipeline) -> None:
        for record in self._records:
            self.library.queue_add(pipeline, record)

    def _published(self) -> list[str]:
        return [sha256 for record in self._records for sha256 in files_of(record)]


def _finite(training: Training) -> Training:
    """Return it without losses that are not finite, which JSON cannot represent."""
    losses = {name: loss for name, loss in training.losses.items() if math.isfinite(loss)}
    return training.model_copy(update={"losses": losses})


def current() -> JobContext:
    """Return the context of the current job.

    Raises:
        LookupError: Outside of a job.
    """
    return _current.get()


def enter(context: JobContext) -> None:
    """Set the current context. Called by the worker."""
    _current.set(context)


def run_task(
    specification_type: type[S], function: Callable[[JobContext, S], JobResult], specification: dict[str, Any]
) -> dict[str, Any]:
    """Run a job: parse its specification, call its function with the context, return its result as JSON values.

    Args:
        specification_type: Contract of the specification.
        function: Does the work.
        specification: As JSON values.

    Raises:
        Exception: Of the function; the worker makes the job's problem document of it.
    """
    parsed = TypeAdapter(specification_type).validate_python(specification)
    return function(current(), parsed).model_dump(mode="json")
