"""Translators: asking for one, those in training, those that are ready. Nothing here knows of HTTP."""

from contextlib import AbstractContextManager
from io import BytesIO

from pydantic import Field

from app.services.jobs.queue import JobQueue
from app.services.locks import check_unused, holding, lent
from app.services.record_files import contains, file_links
from app.services.sources import Sources, invalid, with_name
from app.services.translators.checks import check_training, look_up
from app.services.translators.training import in_training, not_deletable, not_ready, training_job
from faceter.contracts.base import Contract, Page, new_id, utc_now
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.jobs import Job, TranslationJob
from faceter.contracts.models import Model
from faceter.contracts.settings import Settings
from faceter.contracts.translators import (
    Direction,
    TrainingSample,
    TranslationMethod,
    Translator,
    TranslatorCurves,
    TranslatorInTraining,
    TranslatorSamples,
    TranslatorSummary,
    TranslatorTraining,
    UploadedGenerators,
)
from faceter.engines.base import Engine, time_limit
from faceter.store import job_checkpoints
from faceter.store.connection import store_errors
from faceter.store.library import Library
from faceter.translation.archive import CURVES_IMAGE, Archive, sample_member, write_archive
from faceter.translation.check import check_generator

AnyTranslator = Translator | TranslatorInTraining
"""A translator, ready or not."""


class TranslatorFilter(Contract):
    """Which translators to list."""

    name: str | None = Field(default=None, min_length=1, max_length=200, examples=["dusk"])
    """Only translators whose name contains this, in upper or lower case."""
    method: TranslationMethod | None = None
    """Only translators trained so."""
    model_id: str | None = Field(default=None, examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """Only translators that this model is a generator of."""

    def wants(self, translator: Translator) -> bool:
        """Whether a translator is one of those."""
        return (
            contains(self.name, translator.name)
            and (self.method is None or (translator.training is not None and translator.training.method is self.method))
            and (self.model_id is None or self.model_id in translator.model_ids.values())
        )


class Translators:
    """The translators the service keeps, and the way to new ones. Every method blocks: it is to be called in a thread.

    A translator in training has no record: it is its job, whose characters its id has, and that job's checkpoint.

    Args:
        library: Where everything is kept.
        queue: Where jobs go.
        engine: Tries out generators.
        settings: Limits.
    """

    def __init__(self, library: Library, queue: JobQueue, engine: Engine, settings: Settings) -> None:
        self._library = library
        self._queue = queue
        self._engine = engine
        self._settings = settings
        self._sources = Sources(library, settings)

    def request(self, request: TranslatorTraining) -> Job:
        """Check what is to be trained and queue the job.

        Raises:
            FaceterError: `INVALID_REQUEST` for what does not exist or is contradictory; `WRONG_DATASET_KIND`,
                `DATASET_MISMATCH`, `UNSUPPORTED_OPERATOR`, `OVERLOADED`.
        """
        self._check_resumable(request)
        request = check_training(with_name(request), self._sources, self._settings)
        specification = TranslationJob(request=request)
        with holding(self._library.redis, specification.uses):
            look_up(request, self._sources)
            return self._queue.enqueue(specification)

    def again(self, job: TranslationJob) -> Job:
        """Queue what an earlier job was to do, if that can still be done.

        Raises:
            FaceterError: What `request` raises.
        """
        with holding(self._library.redis, job.uses):
            look_up(job.request, self._sources)
            return self._queue.enqueue(job)

    def add(self, request: UploadedGenerators) -> Translator:
        """Make a translator of uploaded generators.

        Raises:
            FaceterError: `INVALID_REQUEST` where none is given or there is no such model; `METHOD_NOT_APPLICABLE` on
                the field for a model that makes no images of images, `METADATA_MISMATCH` for one that is said to
                do something else; `INFERENCE_FAILED` if its trial takes too long.
        """
        if not request.models:
            raise invalid("Name the generators: `a2b_id`, `b2a_id` or both.", "a2b_id")
        request = with_name(request)
        models = {direction: self._generator(id, direction) for direction, id in request.models.items()}
        with holding(self._library.redis, request.models.values()):
            for direction, id in request.models.items():
                self._sources.model(id, f"{direction}_id")
            buffer = BytesIO()
            write_archive(buffer, [("generators.json", request.model_dump_json().encode())])
            blob = self._library.store_blob(buffer.getvalue())
            try:
                return self._library.add(
                    Translator(
                        id=new_id("trl"),
                        name=request.name or " and ".join(model.name[:90] for model in models.values()),
                        created_at=utc_now(),
                        sha256=blob.sha256,
                        bytes=blob.bytes,
                        model_ids={direction: model.id for direction, model in models.items()},
                        model_sha256={direction: model.sha256 for direction, model in models.items()},
                    )
                )
            except BaseException:
                self._library.discard_blob(blob.sha256)
                raise

    def get(self, id: str) -> AnyTranslator:
        """Return a translator, ready or in training.

        Raises:
            FaceterError: `NOT_FOUND`.
        """
        records = self._library.translators
        if (there := records.find(id)) is not None:
            return there
        job = self._job(id)
        found = None if job is None else in_training(job, checkpoint=self.checkpoint_of(id) is not None)
        # It may have become ready in between, or have been deleted after that.
        return found if found is not None else records.get(id)

    def ready(self, id: str) -> Translator:
        """Return a translator that is ready.

        Raises:
            FaceterError: `NOT_FOUND`; `NOT_READY`, with how far it is, of one in training.
        """
        found = self.get(id)
        if isinstance(found, Translator):
            return found
        raise not_ready(found)

    def using(self, id: str) -> AbstractContextManager[Translator]:
        """Lend a translator that is ready for work on its files; see `app.services.locks.lent`.

        Raises:
            FaceterError: What `ready` raises; `NOT_FOUND`, also if a file is gone in the block because it was deleted.
        """
        return lent(self.ready, id)

    def page(self, limit: int, cursor: str | None, wanted: TranslatorFilter) -> Page[TranslatorSummary]:
        """Return one page of the translators wanted that are ready, newest first.

        Raises:
            FaceterError: `INVALID_REQUEST` for a bad cursor.
        """
        page = self._library.translators.page(limit, cursor, wanted.wants)
        return Page(items=[summary(translator) for translator in page.items], next_cursor=page.next_cursor)

    def delete(self, id: str) -> None:
        """Delete a translator; its generators stay, as models.

        Raises:
            FaceterError: `NOT_FOUND`; `RESOURCE_IN_USE` while a job needs it, or trains it; `JOB_ENDED` if its
                training ended without one.
        """
        with holding(self._library.redis, [id]):
            found = self.get(id)
            if isinstance(found, TranslatorInTraining):
                raise not_deletable(found)
            check_unused(self._queue, id)
            self._library.delete(self._library.translators, id)

    def archive(self, id: str) -> Archive:
        """Open the archive of a translator, of one in training its last checkpoint; to be closed, as by a `with` block.

        Raises:
            FaceterError: `NOT_FOUND`; `NOT_READY` where there is no checkpoint yet.
        """
        sha256 = self._file_of(id)
        try:
            return self.checkpoint_archive(sha256)
        except FaceterError as error:
            # A later checkpoint takes the place of the one before, whose file goes.
            if error.kind is not ProblemKind.BLOB_MISSING or self._file_of(id) == sha256:
                raise
        return self.archive(id)

    def checkpoint_archive(self, sha256: str) -> Archive:
        """Open the archive of a checkpoint; to be closed, as by a `with` block.

        Raises:
            FaceterError: `BLOB_MISSING` if a later one has taken its place meanwhile.
        """
        return Archive(self._library.blobs.path(sha256))

    def checkpoint_of(self, id: str) -> str | None:
        """Return the SHA-256 of the last checkpoint of a translator in training; None if there is none."""
        job_id = training_job(id)
        with store_errors():
            return None if job_id is None else job_checkpoints.find(self._library.redis, job_id)

    def samples(self, id: str) -> TranslatorSamples:
        """Return which contact sheets there are.

        Raises:
            FaceterError: What `archive` raises.
        """
        with self.archive(id) as archive:
            here = f"/v1/translators/{id}/samples"
            return TranslatorSamples(
                items=[TrainingSample(step=step, url=f"{here}/{step}") for step in archive.sample_steps]
            )

    def sample(self, id: str, step: int | None) -> bytes:
        """Return a contact sheet, PNG.

        Args:
            id: The translator.
            step: After how many steps; the last one if None.

        Raises:
            FaceterError: What `archive` raises; `NOT_FOUND`, naming the steps there are.
        """
        with self.archive(id) as archive:
            steps = archive.sample_steps
            if not steps:
                raise FaceterError(ProblemKind.NOT_FOUND, f"{id} was not trained here, so there are no samples.")
            if step is not None and step not in steps:
                near = min(steps, key=lambda there: abs(there - step))
                raise FaceterError(
                    ProblemKind.NOT_FOUND,
                    f"{id} has no sample of step {step}; the nearest is {near}, the last {steps[-1]}.",
                )
            return archive.read(sample_member(steps[-1] if step is None else step))

    def curves(self, id: str) -> TranslatorCurves:
        """Return how the losses went.

        Raises:
            FaceterError: What `archive` raises.
        """
        with self.archive(id) as archive:
            return archive.curves()

    def curves_image(self, id: str) -> bytes:
        """Return how the losses went, as a PNG.

        Raises:
            FaceterError: What `archive` raises; `NOT_FOUND` if it was not trained here.
        """
        with self.archive(id) as archive:
            if CURVES_IMAGE not in archive.names:
                raise FaceterError(ProblemKind.NOT_FOUND, f"{id} was not trained here, so there are no curves.")
            return archive.read(CURVES_IMAGE)

    def _file_of(self, id: str) -> str:
        """Return the SHA-256 of a translator's archive; of one in training that of its last checkpoint."""
        found = self.get(id)
        if isinstance(found, Translator):
            return found.sha256
        sha256 = self.checkpoint_of(id)
        if sha256 is None:
            raise not_ready(found)
        return sha256

    def _generator(self, id: str, direction: Direction) -> Model:
        """Return the model of an id, tried out as a generator; what is wrong with it is said of the direction."""
        model = self._sources.model(id, f"{direction}_id")
        content = self._library.blobs.read(model.sha256)
        threads = self._settings.inference_threads
        try:
            with time_limit(self._settings.inference_seconds) as interrupt:
                check_generator(content, model.metadata, self._engine, threads=threads, interrupt=interrupt)
        except FaceterError as error:
            if error.kind.status != ProblemKind.INVALID_REQUEST.status:
                raise
            raise FaceterError(error.kind, error.detail, field=f"{direction}_id", **error.extra) from error
        return model

    def _check_resumable(self, request: TranslatorTraining) -> None:
        """See that the translator to go on from is not one that is still in training."""
        id = request.resume_from_id
        if id is None:
            return
        job = None if self._library.translators.find(id) is not None else self._job(id)
        if job is not None and not job.status.ended:
            raise invalid(
                f"{id} is still in training: its job is {job.status}. Wait for /v1/jobs/{job.id} to end, or end it "
                "with DELETE, which keeps the translator as it is by then.",
                "resume_from_id",
            )

    def _job(self, id: str) -> Job | None:
        job_id = training_job(id)
        try:
            job = None if job_id is None else self._queue.get(job_id)
        except FaceterError as error:
            if error.kind is not ProblemKind.NOT_FOUND:
                raise
            return None
        return job if job is not None and isinstance(job.specification, TranslationJob) else None


def summary(translator: Translator) -> TranslatorSummary:
    """Return a translator as lists show it."""
    return TranslatorSummary(
        id=translator.id,
        name=translator.name,
        created_at=translator.created_at,
        method=None if translator.training is None else translator.training.method,
        model_ids=translator.model_ids,
        links={"self": f"/v1/translators/{translator.id}"},
    )


def with_links(translator: AnyTranslator) -> AnyTranslator:
    """Return the translator with the addresses that belong to it."""
    here = f"/v1/translators/{translator.id}"
    links = {"self": here, "translate": f"{here}/translate"}
    if translator.job_id is not None:
        links |= {"job": f"/v1/jobs/{translator.job_id}", "samples": f"{here}/samples", "curves": f"{here}/curves"}
    if translator.settings is not None:
        links["dataset"] = f"/v1/datasets/{translator.settings.dataset_id}"
    if isinstance(translator, Translator):
        links["content"] = f"{here}/content"
        links |= {direction.value: f"/v1/models/{id}" for direction, id in translator.model_ids.items()}
        links = {**file_links(translator, here), **links}
    return translator.model_copy(update={"links": links})
