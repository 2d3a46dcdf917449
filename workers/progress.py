"""What a job is given: its library, a way to say how far it is, and a way to hand over what it made."""

import time
from collections.abc import Callable
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, BinaryIO, Final, TypeVar

from pydantic import TypeAdapter
from redis import Redis
from redis.client import Pipeline
from rq.executions import Execution

from faceter.contracts.base import Provenance, utc_now
from faceter.contracts.jobs import JobResult, Progress
from faceter.contracts.models import Model
from faceter.contracts.settings import Settings
from faceter.store import job_steps
from faceter.store.blobs import StoredBlob
from faceter.store.library import Library

S = TypeVar("S")

_INTERVAL_SECONDS: Final = 0.5
_CERTAIN_FRACTION: Final = 0.02

_current: ContextVar["JobContext"] = ContextVar("current job")


class JobContext:
    """One execution of one job.

    Args:
        settings: The service's.
        library: Models, data sets and files.
        redis: The store.
        execution: The lease on the job.
        clock: Seconds that only go up; the tests' own clock, elsewhere the machine's.
    """

    def __init__(
        self,
        settings: Settings,
        library: Library,
        redis: Redis,
        execution: Execution,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self.library = library
        self.job_id: str = execution.job_id
        self.provenance: Provenance | None = None
        """All that is needed to make the result again; that of the model it made if not set."""
        self._redis = redis
        self._execution = execution
        self._clock = clock
        self._started = clock()
        self._told = -_INTERVAL_SECONDS
        self._step = ""
        self._fraction = 0.0
        self._held: list[str] = []
        self._models: list[Model] = []

    def new_id(self, prefix: str) -> str:
        """Return the id of what this job makes: ``prefix`` and the job's own characters, the same in every attempt."""
        return f"{prefix}_{self.job_id.partition('_')[2]}"

    def progress(self, step: str, fraction: float) -> None:
        """Say how far the job is. Cheap enough for an inner loop: at most two writes a second, and one per new step.

        Args:
            step: What it is doing, in a word or a few.
            fraction: How much of the whole job is done, 0 to 1; less than was said before counts as that.

        Raises:
            LeaseLostError: If the job was canceled or given to another worker; let it pass.
        """
        self._fraction = round(min(1.0, max(fraction, self._fraction)), 4)
        now = self._clock()
        if step == self._step and now - self._told < _INTERVAL_SECONDS:
            return
        self._step, self._told = step, now
        progress = Progress(step=step, fraction=self._fraction, eta_seconds=self._eta(now), updated_at=utc_now())
        job_steps.record_progress(self._redis, self._execution, progress)

    def _eta(self, now: float) -> float | None:
        if self._fraction < _CERTAIN_FRACTION:
            return None
        elapsed = timedelta(seconds=now - self._started)
        return round((elapsed * (1 / self._fraction - 1)).total_seconds(), 1)

    def store_blob(self, source: BinaryIO | bytes) -> StoredBlob:
        """Keep a file the job made; it is deleted again should the job fail.

        Raises:
            FaceterError: `STORAGE_FULL` where there is no room; `STORE_UNAVAILABLE`.
        """
        blob = self.library.store_blob(source)
        self._held.append(blob.sha256)
        return blob

    def add_model(self, model: Model) -> JobResult:
        """Hand over a model the job made, its file kept with `store_blob`.

        It appears in the library in the instant the job succeeds, and never if it does not.

        Returns:
            The result that names it, for the job to return.
        """
        self._models.append(model)
        return JobResult(model_id=model.id, url=f"/v1/models/{model.id}")

    def succeed(self, result: JobResult) -> None:
        """End the job well: record its result and let what it made appear, in one step. For the worker to call.

        Raises:
            LeaseLostError: If the job was canceled or given to another worker; nothing appears.
        """
        provenance = self.provenance
        if provenance is None:
            provenance = next((model.provenance for model in self._models if model.provenance is not None), None)
        job_steps.succeed(self._redis, self._execution, result, provenance, self._publish)

    def discard(self) -> None:
        """Give up the files of a job that did not succeed. For the worker to call."""
        while self._held:
            self.library.discard_blob(self._held.pop())

    def _publish(self, pipeline: Pipeline) -> None:
        for model in self._models:
            self.library.queue_model(pipeline, model)


def current() -> JobContext:
    """Return the context of the job this process is on.

    Raises:
        LookupError: Outside of a job.
    """
    return _current.get()


def enter(context: JobContext) -> None:
    """Make ``context`` the current one. For the worker to call."""
    _current.set(context)


def run_task(
    specification_type: type[S], function: Callable[[JobContext, S], JobResult], specification: dict[str, Any]
) -> dict[str, Any]:
    """Do a job: read its specification, call its function with the context, return its result as JSON values.

    Args:
        specification_type: Contract of the specification.
        function: Does the work.
        specification: As it was queued.

    Raises:
        Exception: Whatever the function raises; the worker turns it into the job's problem document.
    """
    parsed = TypeAdapter(specification_type).validate_python(specification)
    return function(current(), parsed).model_dump(mode="json")
