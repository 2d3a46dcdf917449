"""A translation job: from a stored dataset of two domains to a stored translator with its generators."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Literal

import numpy as np

from faceter.contracts.base import derived_id, utc_now
from faceter.contracts.datasets import Dataset
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.jobs import JobResult, TranslationJob
from faceter.contracts.models import Model
from faceter.contracts.translation_methods import Direction
from faceter.contracts.translator_records import DirectionEvaluation, TrainingRecord
from faceter.contracts.translators import Translator, TranslatorTraining
from faceter.datasets.domains import DomainsDataset
from faceter.datasets.samples import evenly_spaced
from faceter.engines.input_shapes import at_input_shapes
from faceter.graphs.check import load_model
from faceter.graphs.describe import input_specs, output_specs, parameter_count
from faceter.graphs.view import opset_of
from faceter.translation.archive import Archive
from faceter.translation.metadata import generator_metadata
from workers.evaluation.feature_extraction import extract_features
from workers.files import store_file
from workers.host import compute_device
from workers.jobs.checkpoints import State
from workers.jobs.context import JobContext
from workers.jobs.provenance import provenance_of
from workers.jobs.scratch import job_folder
from workers.jobs.stages import Stage, Stages
from workers.training.callbacks import JobCallbacks
from workers.training.loop import DivergedError, DivergencePolicy, RunResult, TrainingLoop
from workers.translation.archive_writer import (
    MOST_POINTS,
    ArchiveWriter,
    generator_content,
    loss_points,
    training_state,
)
from workers.translation.evaluation import MIN_IMAGES, EvaluationSet, FeatureExtractor, ImagesInMemory, evaluate
from workers.translation.evaluation_set import evaluation_set
from workers.translation.generator_inference import GeneratorInference
from workers.translation.images import ResizedImages
from workers.translation.methods import expected_stages, new_trainer
from workers.translation.samples import Pixels, sample_sheet

SAMPLES, CURVES = "samples.png", "curves.png"
"""Names of the translator's images."""

POLICY = DivergencePolicy(back_to="checkpoint", rate_factor=0.5)
"""What training does when it diverges."""

_SHOWN = 4
_RESERVED_SECONDS = 600.0
_RESERVED_FRACTION = 0.1


def train(context: JobContext, specification: TranslationJob) -> JobResult:
    """Train a translator on a dataset of the library, and add the translator and its generators.

    Raises:
        FaceterError: Why it cannot be trained.
    """
    began = time.monotonic()
    request, library = specification.request, context.library
    record = library.datasets.get(request.dataset_id)
    stages = context.stages(expected_stages(request, record.samples))
    stages.enter("reading images")
    with job_folder(context.settings, context.job_id, context.replicas.rank) as folder:
        with DomainsDataset.open(library.blobs.path(record.sha256), context.settings) as data:
            images = ResizedImages(data, request.image_size, folder=folder)
            evaluated_on = _read_evaluation_set(context, request, record, images)
        stages.enter("preparing the networks (compiling may take minutes)")
        return _TranslatorRun(context, request, record, images, evaluated_on, folder, stages, began).run()


class _TranslatorCallbacks(JobCallbacks):
    """Checkpoints are archives with contact sheets; training ends before the job runs out of time.

    Args:
        context: The job.
        stage: Takes the progress.
        writer: Writes the archives.
        deadline: When to stop, in `time.monotonic` seconds.
    """

    def __init__(self, context: JobContext, stage: Stage, writer: ArchiveWriter, deadline: float) -> None:
        super().__init__(context, stage)
        self.out_of_time = False
        self._writer = writer
        self._deadline = deadline

    def stop_requested(self) -> bool:
        """Return whether to end with the networks as they are."""
        self.out_of_time = time.monotonic() > self._deadline
        return self.out_of_time or super().stop_requested()

    def write(self, state: State) -> None:
        """Save an archive."""
        with self._writer.write(state) as file:
            self.context.save_checkpoint(file)

    def read(self, content: bytes) -> State:
        """Return the state in an archive."""
        return self._writer.restore(content)


class _TranslatorRun:
    """One execution of the job, once all images are read."""

    def __init__(
        self,
        context: JobContext,
        request: TranslatorTraining,
        record: Dataset,
        images: ResizedImages,
        evaluated_on: EvaluationSet,
        folder: Path,
        stages: Stages,
        began: float,
    ) -> None:
        self.context = context
        self.request = request
        self.evaluated_on = evaluated_on
        self.stages = stages
        self.name = request.name or f"{record.name[:150]}, {request.method}"
        context.replicas.join(request.batch_size)
        self.trainer, self.budget = new_trainer(request, images, compute_device(), context.replicas)
        self.translate = GeneratorInference(self.trainer)
        self.writer = ArchiveWriter(self.trainer, self.name, folder, self.sheet)
        self.inputs = {"dataset": record.sha256}
        limit = context.settings.job_timeout_seconds
        self.deadline = began + limit - min(_RESERVED_SECONDS, _RESERVED_FRACTION * limit)
        self._resume_from_translator()

    def run(self) -> JobResult:
        """Train, evaluate, and add the records."""
        callbacks = _TranslatorCallbacks(self.context, self.stages.enter("training"), self.writer, self.deadline)
        loop = TrainingLoop(self.trainer, self.budget, POLICY, callbacks=callbacks, points=MOST_POINTS)
        try:
            trained = loop.run()
        except DivergedError as error:
            raise _diverged(error) from error
        self.context.replicas.leave()
        evaluation = self.evaluate(self.stages.enter("evaluating"))
        self.stages.enter("writing the translator")
        return self.add_records(trained, loop.state(), evaluation, out_of_time=callbacks.out_of_time)

    def _resume_from_translator(self) -> None:
        """Start with the networks and optimizers of the translator to resume from."""
        if self.request.resume_from_id is None:
            return
        before = self.context.library.translators.get(self.request.resume_from_id)
        self.inputs["resume_from"] = before.sha256
        with Archive(self.context.library.blobs.path(before.sha256)) as archive:
            self.trainer.load_networks(training_state(archive)["trainer"])

    def sheet(self, title: str) -> bytes:
        """Draw the contact sheet of the current generators."""
        directions = self.translate.directions
        images, paired = self.evaluated_on.images, self.evaluated_on.paired
        shown = {domain: pixels[evenly_spaced(len(pixels), _SHOWN)] for domain, pixels in images.items()}
        targets = {direction: shown[direction.target] for direction in directions} if paired else None
        return sample_sheet(shown, directions, self.translate, title, targets)

    def evaluate(self, progress: Stage) -> dict[Direction, DirectionEvaluation]:
        """Evaluate the current generators."""
        return evaluate(self.evaluated_on, self.translate.directions, self.translate, self._describe(), progress)

    def _describe(self) -> FeatureExtractor | None:
        source = self.request.features
        if source is None:
            return None
        model = at_input_shapes(self.context.library.models.get(source.model_id), source.input_shapes)
        content = self.context.library.blobs.read(model.sha256)
        self.inputs["features"] = model.sha256

        def describe(images: Pixels) -> Any:
            return np.concatenate(
                list(extract_features(content, model, ImagesInMemory(images), source.tensor, "the translations"))
            )

        return describe

    def add_records(
        self,
        trained: RunResult,
        state: State,
        evaluation: dict[Direction, DirectionEvaluation],
        *,
        out_of_time: bool,
    ) -> JobResult:
        """Add the generators and the translator."""
        context, request = self.context, self.request
        if request.evaluation_dataset_id is not None:
            self.inputs["evaluation_dataset"] = context.library.datasets.get(request.evaluation_dataset_id).sha256
        origin = provenance_of(request.model_dump(mode="json"), self.inputs, request.seed)
        models = {direction: self._model(direction, origin) for direction in self.translate.directions}
        with self.writer.write(state) as file:
            blob = context.store_blob(file)
        for model in models.values():
            context.add(model)
        return context.result(
            Translator(
                id=context.new_id("trl"),
                name=self.name,
                created_at=utc_now(),
                settings=request,
                job_id=context.job_id,
                sha256=blob.sha256,
                bytes=blob.bytes,
                model_ids={direction: model.id for direction, model in models.items()},
                model_sha256={direction: model.sha256 for direction, model in models.items()},
                training=self._record(trained, out_of_time=out_of_time),
                evaluation=evaluation,
                warnings=_warnings(request, trained, evaluation),
                provenance=origin,
                files={
                    SAMPLES: store_file(context, self.writer.last_sheet, "image/png"),
                    CURVES: store_file(context, self.writer.last_curves, "image/png"),
                },
            )
        )

    def _record(self, trained: RunResult, *, out_of_time: bool) -> TrainingRecord:
        acceleration = self.trainer.accelerator.record
        ended: Literal["budget", "request", "time_limit", "diverged"] = trained.ended_by
        if ended == "request" and out_of_time:
            ended = "time_limit"
        return TrainingRecord(
            method=self.request.method,
            steps=trained.steps,
            epochs=round(self.trainer.data.epochs, 3),
            seconds=round(trained.seconds, 2),
            steps_per_second=round(trained.steps / max(trained.seconds, 1e-9), 4),
            waited_seconds=round(self.trainer.data.waited, 3),
            ended_by=ended,
            losses=dict(trained.losses),
            parameters=self.trainer.parameters,
            precision=acceleration.precision,
            compiled=acceleration.compiled,
            acceleration=acceleration.explanation,
            restarts=trained.restarts,
            resumed=trained.resumed,
        )

    def _model(self, direction: Direction, origin: Any) -> Model:
        content = generator_content(self.trainer.generators()[direction.value])
        graph = load_model(content, max_bytes=len(content))
        blob = self.context.store_blob(content)
        return Model(
            id=derived_id("mdl", self.context.job_id, direction.value),
            name=f"{self.name} ({direction})",
            created_at=utc_now(),
            sha256=blob.sha256,
            bytes=blob.bytes,
            metadata=generator_metadata(self.request.image_size, self.request.serving_precision),
            inputs=input_specs(graph),
            outputs=output_specs(graph),
            opset=opset_of(graph),
            parameters=parameter_count(graph),
            provenance=origin,
        )


def _read_evaluation_set(
    context: JobContext, request: TranslatorTraining, record: Dataset, images: ResizedImages
) -> EvaluationSet:
    """Read the images to evaluate on: those of the evaluation dataset, or of the training set."""
    library = context.library
    other = None if request.evaluation_dataset_id is None else library.datasets.get(request.evaluation_dataset_id)
    used = record if other is None else other
    with DomainsDataset.open(library.blobs.path(used.sha256), context.settings) as data:
        return evaluation_set(data, images, request.image_size, held_out=other is not None, paired=bool(used.paired))


def _diverged(error: DivergedError) -> FaceterError:
    return FaceterError(
        ProblemKind.TRAINING_DIVERGED,
        f"Training diverged before its first checkpoint ({error.reason}). Try a lower learning_rate, and "
        "check that the images differ from each other.",
        curves=[point.model_dump() for point in loss_points(error.points)],
    )


def _warnings(
    request: TranslatorTraining, trained: RunResult, evaluation: dict[Direction, DirectionEvaluation]
) -> list[str]:
    warnings = []
    if trained.ended_by == "diverged":
        warnings.append(
            "Losses were not finite twice, the second time at a lower rate, so training ended early with its last good "
            "state. Try a lower learning_rate."
        )
    if trained.restarts and trained.ended_by != "diverged":
        warnings.append(
            "A loss was not finite once; training went back to its last checkpoint and continued at half the rate."
        )
    if request.evaluation_dataset_id is None:
        warnings.append("The evaluation used images of the training set. Set `evaluation_dataset_id` to other images.")
    if request.features is not None and not all(graded.metrics for graded in evaluation.values()):
        warnings.append(
            f"Density, coverage and FID were not measured: they take {MIN_IMAGES} images of each domain at least."
        )
    return warnings
