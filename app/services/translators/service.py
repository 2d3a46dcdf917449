"""Translators: train, create from uploaded generators, get, list, delete, training samples and curves."""

from functools import partial
from io import BytesIO

from app.services.core import Core
from app.services.creation import creation_id
from app.services.errors import invalid
from app.services.input_shapes import validate_feature_shapes
from app.services.job_inputs import JobInputs
from app.services.jobs.submission import JobSubmitter, valid_name
from app.services.locks import locked
from app.services.records import RecordService
from app.services.translators.training import in_training, not_deletable, not_ready
from app.services.translators.validation import validate_options, validate_training
from faceter.contracts.base import utc_now
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.jobs import Job, TranslationJob
from faceter.contracts.models import Model
from faceter.contracts.translation_methods import Direction
from faceter.contracts.translator_records import TrainingSample, TranslatorCurves, TranslatorSamples
from faceter.contracts.translators import (
    GeneratorSizes,
    Translator,
    TranslatorInTraining,
    TranslatorTraining,
    UploadedGenerators,
)
from faceter.engines.base import time_limit
from faceter.resources import TRANSLATORS
from faceter.store import job_checkpoints
from faceter.store.connection import store_errors
from faceter.translation.archive import CURVES_IMAGE, Archive, sample_member, write_archive
from faceter.translation.generator import load_generator

AnyTranslator = Translator | TranslatorInTraining
"""A translator, ready or not."""


class TranslatorService(RecordService[Translator], JobSubmitter[TranslationJob]):
    """Manages translators and submits training jobs.

    A translator in training has no record: it is derived from its job, whose id it shares except for the prefix, and
    from the job's checkpoint.
    """

    resource = TRANSLATORS

    def __init__(self, core: Core) -> None:
        super().__init__(core)
        self._inputs = JobInputs(core.library, core.settings)

    def train(self, request: TranslatorTraining) -> TranslatorInTraining:
        """Submit the training of a translator, and return the queued translator.

        Raises:
            FaceterError: `INVALID_REQUEST` for contradictory options; the errors of `validate`;
                `OVERLOADED`.
        """
        validate_options(request)
        queued = in_training(self.submit(TranslationJob(request=request)), checkpoint=False)
        assert queued is not None
        return queued

    def validate(self, specification: TranslationJob) -> TranslationJob:
        """Check that the translator can be trained, and return the specification with defaults filled in.

        Raises:
            FaceterError: `INVALID_REQUEST` for missing resources, contradictory options or exceeded limits;
                `WRONG_DATASET_KIND`, `DATASET_MISMATCH`, `UNSUPPORTED_OPERATOR`.
        """
        self._check_resumable(specification.request)
        request = validate_training(specification.request, self._inputs, self.settings)
        validate_feature_shapes(self.core, self._inputs, request.features)
        return specification.model_copy(update={"request": request})

    def add(self, request: UploadedGenerators) -> Translator:
        """Create a translator from uploaded generators.

        Raises:
            FaceterError: `INVALID_REQUEST` if none is given or a model does not exist; `METHOD_NOT_APPLICABLE` on
                the field for a model that does not map images to images, `METADATA_MISMATCH` for one with another
                task; `INFERENCE_FAILED` if its test run takes too long.
        """
        if not request.models:
            raise invalid("Name the generators: `a2b_id`, `b2a_id` or both.", "a2b_id")
        request = request.model_copy(update={"name": None if request.name is None else valid_name(request.name)})
        checked = {direction: self._generator(id, direction) for direction, id in request.models.items()}
        models = {direction: model for direction, (model, _) in checked.items()}
        with locked(self.library.redis, request.models.values()):
            for direction, id in request.models.items():
                self._inputs.model(id, f"{direction}_id")
            buffer = BytesIO()
            write_archive(buffer, [("generators.json", request.model_dump_json().encode())])
            blob = self.library.store_blob(buffer.getvalue())
            try:
                return self.library.add(
                    Translator(
                        id=creation_id(self.resource.prefix),
                        name=request.name or " and ".join(model.name[:90] for model in models.values()),
                        created_at=utc_now(),
                        sha256=blob.sha256,
                        bytes=blob.bytes,
                        model_ids={direction: model.id for direction, model in models.items()},
                        model_sha256={direction: model.sha256 for direction, model in models.items()},
                        generator_sizes={direction: sizes for direction, (_, sizes) in checked.items()},
                    )
                )
            except BaseException:
                self.library.discard_blob(blob.sha256)
                raise

    def get_any(self, id: str) -> AnyTranslator:
        """Return a translator, ready or in training.

        Raises:
            FaceterError: `NOT_FOUND`.
        """
        if (ready := self.records.find(id)) is not None:
            return ready
        job = self._job(id)
        translator = None if job is None else in_training(job, checkpoint=self.checkpoint_of(id) is not None)
        # It may have become ready meanwhile, or have been deleted after that.
        return translator if translator is not None else self.records.get(id)

    def get(self, id: str) -> Translator:
        """Return a ready translator.

        Raises:
            FaceterError: `NOT_FOUND`; `NOT_READY`, with its progress, for one in training.
        """
        translator = self.get_any(id)
        if isinstance(translator, Translator):
            return translator
        raise not_ready(translator)

    def deletable(self, id: str) -> Translator:
        """Return the translator to delete.

        Raises:
            FaceterError: `NOT_FOUND`; `RESOURCE_IN_USE` while a job trains it; `JOB_ENDED` if its training failed
                or was canceled.
        """
        translator = self.get_any(id)
        if isinstance(translator, TranslatorInTraining):
            raise not_deletable(translator)
        return translator

    def archive(self, id: str) -> Archive:
        """Open the archive of a translator, or the last checkpoint of one in training; the caller closes it.

        Raises:
            FaceterError: `NOT_FOUND`; `NOT_READY` if there is no checkpoint yet.
        """
        sha256 = self._file_of(id)
        try:
            return self.checkpoint_archive(sha256)
        except FaceterError as error:
            # A later checkpoint replaces the previous one, whose file is deleted.
            if error.kind is not ProblemKind.BLOB_MISSING or self._file_of(id) == sha256:
                raise
        return self.archive(id)

    def checkpoint_archive(self, sha256: str) -> Archive:
        """Open the archive of a checkpoint; the caller closes it.

        Raises:
            FaceterError: `BLOB_MISSING` if a later one has replaced it meanwhile.
        """
        return Archive(self.library.blobs.path(sha256))

    def checkpoint_of(self, id: str) -> str | None:
        """Return the SHA-256 of the last checkpoint of a translator in training, or None."""
        job_id = self.resource.job_id_for_record(id)
        with store_errors():
            return None if job_id is None else job_checkpoints.find(self.library.redis, job_id)

    def samples(self, id: str) -> TranslatorSamples:
        """Return the list of contact sheets.

        Raises:
            FaceterError: The errors of `archive`.
        """
        with self.archive(id) as archive:
            return TranslatorSamples(items=[TrainingSample(step=step) for step in archive.sample_steps])

    def sample(self, id: str, step: int | None) -> bytes:
        """Return a contact sheet, PNG.

        Args:
            step: Training step of the contact sheet; the last one if None.

        Raises:
            FaceterError: The errors of `archive`; `NOT_FOUND`, with the nearest and the last step.
        """
        with self.archive(id) as archive:
            steps = archive.sample_steps
            if not steps:
                raise FaceterError(ProblemKind.NOT_FOUND, f"{id} was not trained here, so there are no samples.")
            if step is not None and step not in steps:
                nearest = min(steps, key=lambda existing: abs(existing - step))
                raise FaceterError(
                    ProblemKind.NOT_FOUND,
                    f"{id} has no sample of step {step}; the nearest is {nearest}, the last {steps[-1]}.",
                )
            return archive.read(sample_member(steps[-1] if step is None else step))

    def curves(self, id: str) -> TranslatorCurves:
        """Return the loss curves.

        Raises:
            FaceterError: The errors of `archive`.
        """
        with self.archive(id) as archive:
            return archive.curves()

    def curves_image(self, id: str) -> bytes:
        """Return the plot of the loss curves, PNG.

        Raises:
            FaceterError: The errors of `archive`; `NOT_FOUND` if it was not trained here.
        """
        with self.archive(id) as archive:
            if CURVES_IMAGE not in archive.names:
                raise FaceterError(ProblemKind.NOT_FOUND, f"{id} was not trained here, so there are no curves.")
            return archive.read(CURVES_IMAGE)

    def _file_of(self, id: str) -> str:
        """Return the SHA-256 of a translator's archive, or of the last checkpoint of one in training."""
        translator = self.get_any(id)
        if isinstance(translator, Translator):
            return translator.sha256
        sha256 = self.checkpoint_of(id)
        if sha256 is None:
            raise not_ready(translator)
        return sha256

    def _generator(self, id: str, direction: Direction) -> tuple[Model, GeneratorSizes]:
        """Return a model after checking that it works as a generator, and its sizes; errors name the direction."""
        model = self._inputs.model(id, f"{direction}_id")
        try:
            sizes = self._sizes(model)
        except FaceterError as error:
            if error.kind.status != ProblemKind.INVALID_REQUEST.status:
                raise
            raise FaceterError(error.kind, error.detail, field=f"{direction}_id", **error.extra) from error
        return model, sizes

    def _sizes(self, model: Model) -> GeneratorSizes:
        """Return the image sizes of a generator; one that takes too long to check with open sizes keeps its own."""
        content, seconds = self.library.blobs.read(model.sha256), self.settings.inference_seconds
        load = partial(
            load_generator, content, model.metadata, engine=self.core.engine, threads=self.settings.inference_threads
        )
        late: str | None = None
        try:
            with time_limit(seconds) as interrupt:
                generator = load(interrupt=interrupt)
        except FaceterError:
            if not interrupt.triggered:
                raise
            late = f"it could not be checked with open sizes within {seconds:g} seconds"
            with time_limit(seconds) as interrupt:
                generator = load(interrupt=interrupt, open_fixed=False)
        generator.close()
        size = generator.signature.size
        return GeneratorSizes(
            sizes="any" if size is None else "fixed",
            size=None if size is None else list(size),
            multiple=generator.signature.multiple,
            opened=generator.opened,
            reason=None if size is None else late or generator.fixed_because,
        )

    def _check_resumable(self, request: TranslatorTraining) -> None:
        """Check that the translator to resume from is not still in training."""
        id = request.resume_from_id
        if id is None:
            return
        job = None if self.library.translators.find(id) is not None else self._job(id)
        if job is not None and not job.status.ended:
            raise invalid(
                f"{id} is still in training: its job {job.id} is {job.status}. Wait for it to end, or finish it, which "
                "keeps the best translator so far.",
                "resume_from_id",
            )

    def _job(self, id: str) -> Job | None:
        job_id = self.resource.job_id_for_record(id)
        try:
            job = None if job_id is None else self.queue.get(job_id)
        except FaceterError as error:
            if error.kind is not ProblemKind.NOT_FOUND:
                raise
            return None
        return job if job is not None and isinstance(job.specification, TranslationJob) else None
