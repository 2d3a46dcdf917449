"""What a job is given: its library, a way to say how far it is, and a way to hand over what it made."""

import logging
import math
import time
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, BinaryIO, Final, TypeVar

from pydantic import TypeAdapter
from redis import Redis
from redis.client import Pipeline
from rq.executions import Execution

from faceter.contracts.analyses import Analysis
from faceter.contracts.base import Provenance, utc_now
from faceter.contracts.datasets import Dataset
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.evaluations import Evaluation
from faceter.contracts.explanations import Explanation
from faceter.contracts.jobs import JobResult, Progress, Training
from faceter.contracts.models import Model
from faceter.contracts.settings import Settings
from faceter.contracts.translators import Translator
from faceter.store import job_checkpoints, job_records, job_steps
from faceter.store.blobs import StoredBlob
from faceter.store.library import Library, files_of

_log = logging.getLogger("faceter.worker")

S = TypeVar("S")

Made = Model | Dataset | Evaluation | Explanation | Analysis | Translator
"""A record that a job makes."""

_INTERVAL_SECONDS: Final = 0.5
_CERTAIN_FRACTION: Final = 0.02
_ASK_SECONDS: Final = 1.0
_PASSING: Final = (ProblemKind.STORAGE_FULL, ProblemKind.STORE_UNAVAILABLE)

_current: ContextVar["JobContext"] = ContextVar("current job")


class JobContext:
    """One execution of one job.

    Args:
        settings: The service's.
        library: All records and their files.
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
        """All that is needed to make the result again; that of what it made if not set."""
        self._redis = redis
        self._execution = execution
        self._clock = clock
        self._began: tuple[float, float] | None = (clock(), 0.0)
        self._told = -_INTERVAL_SECONDS
        self._step = ""
        self._fraction = 0.0
        self._held: list[str] = []
        self._made: list[Made] = []
        self._asked = -_ASK_SECONDS
        self._stop = False

    def new_id(self, prefix: str) -> str:
        """Return the id of what this job makes: ``prefix`` and the job's own characters, the same in every attempt."""
        return f"{prefix}_{self.job_id.partition('_')[2]}"

    def progress(self, step: str, fraction: float, training: Training | None = None) -> None:
        """Say how far the job is. Cheap enough for an inner loop: at most two writes a second, and one per new step.

        Args:
            step: What it is doing, in a word or a few.
            fraction: How much of the whole job is done, 0 to 1; less than was said before counts as that.
            training: For a job that trains: its losses and how good it is; losses that are not finite are left out.

        Raises:
            LeaseLostError: If the job was canceled or given to another worker; let it pass.
        """
        self._fraction = round(min(1.0, max(fraction, self._fraction)), 4)
        now = self._clock()
        if step == self._step and now - self._told < _INTERVAL_SECONDS:
            return
        self._step, self._told = step, now
        progress = Progress(
            step=step,
            fraction=self._fraction,
            eta_seconds=self._eta(now),
            training=None if training is None else _finite(training),
            updated_at=utc_now(),
        )
        job_steps.record_progress(self._redis, self._execution, progress)

    def _eta(self, now: float) -> float | None:
        if self._began is None:
            self._began = (now, self._fraction)
        since, already = self._began
        done = self._fraction - already
        if done < _CERTAIN_FRACTION and self._fraction < 1:
            return None
        return round((now - since) * (1 - self._fraction) / max(done, _CERTAIN_FRACTION), 1)

    def store_blob(self, source: BinaryIO | bytes) -> StoredBlob:
        """Keep a file the job made; it is deleted again should the job fail.

        Raises:
            FaceterError: `STORAGE_FULL` where there is no room; `STORE_UNAVAILABLE`.
        """
        blob = self.library.store_blob(source)
        self._held.append(blob.sha256)
        return blob

    def add_model(self, model: Model) -> JobResult:
        """Hand over a model the job made, its files kept with `store_blob`.

        It appears in the library in the instant the job succeeds, and never if it does not.

        Returns:
            The result that names it, for the job to return.
        """
        self._made.append(model)
        return JobResult(model_id=model.id, url=f"/v1/models/{model.id}")

    def add_dataset(self, dataset: Dataset) -> None:
        """Hand over a dataset that the job made on the way, as `add_model` does a model."""
        self._made.append(dataset)

    def add_evaluation(self, evaluation: Evaluation) -> JobResult:
        """Hand over an evaluation, as `add_model` does a model."""
        self._made.append(evaluation)
        return JobResult(evaluation_id=evaluation.id, url=f"/v1/evaluations/{evaluation.id}")

    def add_explanation(self, explanation: Explanation) -> JobResult:
        """Hand over an explanation, as `add_model` does a model."""
        self._made.append(explanation)
        return JobResult(explanation_id=explanation.id, url=f"/v1/explanations/{explanation.id}")

    def add_analysis(self, analysis: Analysis) -> JobResult:
        """Hand over an analysis, as `add_model` does a model."""
        self._made.append(analysis)
        return JobResult(analysis_id=analysis.id, url=f"/v1/analyses/{analysis.id}")

    def add_translator(self, translator: Translator) -> JobResult:
        """Hand over a translator, as `add_model` does a model."""
        self._made.append(translator)
        return JobResult(translator_id=translator.id, url=f"/v1/translators/{translator.id}")

    def stop_requested(self) -> bool:
        """Return whether someone asked the job to end soon and keep the best it has.

        Cheap enough for an inner loop: the store is asked at most once a second, and not again once it said yes.
        """
        now = self._clock()
        if not self._stop and now - self._asked >= _ASK_SECONDS:
            self._asked = now
            self._stop = job_records.is_ending(self._redis, self.job_id)
        return self._stop

    def save_checkpoint(self, content: BinaryIO | bytes) -> None:
        """Keep the state of the work, in place of what was kept before, for an attempt after this one to go on from.

        It outlives this process and its worker, and goes when the job ends. Where the blob store is full or away, the
        log says so, the checkpoint before stays, and the job goes on.

        Args:
            content: The state.

        Raises:
            LeaseLostError: If the job was canceled or given to another worker; let it pass.
        """
        try:
            blob = self.library.store_blob(content)
            try:
                job_checkpoints.keep(self._redis, self._execution, blob.sha256)
            finally:
                self.library.discard_blob(blob.sha256)
            self.library.delete_released()
        except FaceterError as error:
            if error.kind not in _PASSING:
                raise
            _log.warning("job %s goes on without a new checkpoint: %s", self.job_id, error)

    def load_checkpoint(self) -> bytes | None:
        """Return what `save_checkpoint` last kept of this job, in this attempt or an earlier one; None if nothing.

        A checkpoint whose blob is lost is none; the log says so. What `progress` is told next is taken for the share
        that was done already when it estimates the time left.

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
            _log.warning("job %s begins anew, since its checkpoint is gone: %s", self.job_id, error)
            return None
        self._began = None
        return content

    def succeed(self, result: JobResult) -> None:
        """End the job well: record its result and let what it made appear, in one step. For the worker to call.

        Raises:
            LeaseLostError: If the job was canceled or given to another worker; nothing appears.
        """
        provenance = self.provenance
        if provenance is None:
            results = [record for record in self._made if not isinstance(record, Dataset)]
            provenance = next((record.provenance for record in results if record.provenance is not None), None)
        job_steps.succeed(self._redis, self._execution, result, provenance, self._publish)

        self._held = list((Counter(self._held) - Counter(self._published())).elements())

    def discard(self) -> None:
        """Give up the files that what the job handed over does not have; all of them, if it did not succeed.

        For the worker to call once the job has ended.

        Raises:
            FaceterError: `STORE_UNAVAILABLE`; a sweep then does it later.
        """
        while self._held:
            self.library.discard_blob(self._held.pop())
        self.library.delete_released()

    def _publish(self, pipeline: Pipeline) -> None:
        for record in self._made:
            self.library.queue_add(pipeline, record)

    def _published(self) -> list[str]:
        return [sha256 for record in self._made for sha256 in files_of(record)]


def _finite(training: Training) -> Training:
    """Return it without the losses that JSON cannot say."""
    losses = {name: loss for name, loss in training.losses.items() if math.isfinite(loss)}
    return training.model_copy(update={"losses": losses})


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
