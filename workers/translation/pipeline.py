"""A translation job: from a stored dataset of two domains to a stored translator with its generators."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np

from faceter.contracts.base import derived_id, utc_now
from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.jobs import JobResult, Training, TranslationJob
from faceter.contracts.models import Model
from faceter.contracts.translators import (
    Direction,
    DirectionEvaluation,
    TrainingRecord,
    Translator,
    TranslatorTraining,
)
from faceter.datasets.kinds import open_dataset
from faceter.datasets.samples import spread
from faceter.graphs.check import load_model
from faceter.graphs.describe import input_specs, output_specs, parameter_count
from faceter.graphs.view import opset_of
from faceter.translation.archive import STATE, Archive
from faceter.translation.metadata import generator_metadata
from workers.evaluation.embedding import features
from workers.files import stored
from workers.host import compute_device
from workers.jobs import checkpoints
from workers.jobs.checkpoints import State
from workers.jobs.provenance import provenance_of
from workers.jobs.scratch import job_folder
from workers.translation import loop
from workers.translation.context import Context
from workers.translation.evaluation import LEAST, Describe, EvaluationSet, ImagesInMemory, evaluate
from workers.translation.evaluation_set import evaluation_set
from workers.translation.images import Images
from workers.translation.keeping import Keeper, generator_content
from workers.translation.methods import begin
from workers.translation.samples import Pixels, sample_sheet
from workers.translation.translating import TrainerTranslates

SAMPLES, CURVES = "samples.png", "curves.png"
"""Names of the translator's images."""

_SHOWN = 4
_BEGUN, _TRAINED, _EVALUATED = 0.02, 0.92, 0.98
_SPARE = 600.0
_SPARE_SHARE = 0.1


def train(context: Context, specification: TranslationJob) -> JobResult:
    """Train a translator on a dataset of the library, and hand over the translator and its generators.

    Args:
        context: The job's.
        specification: On what, and how.

    Raises:
        FaceterError: Whatever keeps it from being trained, in words to act on.
    """
    began = time.monotonic()
    request, library = specification.request, context.library
    record = library.datasets.get(request.dataset_id)
    context.progress("reading images", 0.0)
    with job_folder(context.settings, context.job_id) as folder:
        with open_dataset(library.blobs.path(record.sha256), DatasetKind.DOMAINS, context.settings) as data:
            images = Images(data, request.image_size, folder=folder)
            graded_on = _graded_on(context, request, record, images)
        context.progress("preparing the networks (compiling may take minutes)", _BEGUN / 2)
        return _Training(context, request, record, images, graded_on, folder, began).run()


class _Training:
    """One execution of the job, once everything is read."""

    def __init__(
        self,
        context: Context,
        request: TranslatorTraining,
        record: Dataset,
        images: Images,
        graded_on: EvaluationSet,
        folder: Path,
        began: float,
    ) -> None:
        self.context = context
        self.request = request
        self.record = record
        self.graded_on = graded_on
        self.name = request.name or f"{record.name[:150]}, {request.method}"
        self.began = began
        self.resumed = 0
        self.out_of_time = False
        self.trainer, budget = begin(request, images, compute_device())
        self.translate = TrainerTranslates(self.trainer)
        self.keeper = Keeper(self.name, folder, self.sheet)
        self.inputs = {"dataset": record.sha256}
        self._resume()
        self.loop = loop.Training(
            self.trainer,
            budget,
            every=context.settings.checkpoint_seconds,
            progress=self.tell,
            checkpoint=self.keep,
            stop_requested=self.stop_requested,
        )

    def run(self) -> JobResult:
        """Train, grade, and hand over what was made."""
        self._take_up()
        trained = self.loop.run()
        self.context.progress("evaluating", _TRAINED)
        evaluation = self.evaluate()
        self.context.progress("writing the translator", _EVALUATED)
        return self.hand_over(trained, evaluation)

    def _resume(self) -> None:
        """Begin where the translator is that is to be gone on from.

        Before there is a loop: where a loss is not finite, that goes back to what the trainer was when it was made.
        """
        if self.request.resume_from_id is None:
            return
        before = self.context.library.translators.get(self.request.resume_from_id)
        self.inputs["resume_from"] = before.sha256
        with Archive(self.context.library.blobs.path(before.sha256)) as archive:
            self.trainer.go_on_from(checkpoints.load(archive.read(STATE))["training"]["trainer"])

    def _take_up(self) -> None:
        """Go on where an earlier attempt was, if one left a checkpoint."""
        content = self.context.load_checkpoint()
        if content is not None:
            state = self.keeper.restore(content)
            self.loop.restore(state["training"])
            self.resumed = state["resumed"] + 1

    def stop_requested(self) -> bool:
        """Whether to end with what there is."""
        limit = self.context.settings.job_timeout_seconds
        self.out_of_time = time.monotonic() - self.began > limit - min(_SPARE, _SPARE_SHARE * limit)
        return self.out_of_time or self.context.stop_requested()

    def tell(self, progress: loop.Progress) -> None:
        """Say how far it is."""
        self.context.progress(
            "training",
            _BEGUN + progress.fraction * (_TRAINED - _BEGUN),
            Training(
                phase="training",
                step=progress.step,
                losses=dict(progress.losses),
                steps_per_second=progress.steps_per_second,
            ),
        )

    def keep(self, state: State) -> None:
        """Keep a checkpoint."""
        with self._archive(state) as file:
            self.context.save_checkpoint(file)

    @contextmanager
    def _archive(self, state: State) -> Iterator[Any]:
        whole = {"training": state, "resumed": self.resumed}
        points, step = self.loop.curves.points(), self.loop.budget.taken
        with self.keeper.archive(self.trainer, whole, points, step) as file:
            yield file

    def sheet(self, title: str) -> bytes:
        """Draw the contact sheet of the translator as it stands."""
        directions = self.translate.directions
        shown = {domain: images[spread(len(images), _SHOWN)] for domain, images in self.graded_on.images.items()}
        wanted = {direction: shown[direction.target] for direction in directions} if self.graded_on.paired else None
        return sample_sheet(shown, directions, self.translate, title, wanted)

    def evaluate(self) -> dict[Direction, DirectionEvaluation]:
        """Grade the translator as it stands."""
        return evaluate(
            self.graded_on,
            self.translate.directions,
            self.translate,
            self._describe(),
            lambda share: self.context.progress("evaluating", _TRAINED + share * (_EVALUATED - _TRAINED)),
        )

    def _describe(self) -> Describe | None:
        source = self.request.features
        if source is None:
            return None
        model = self.context.library.models.get(source.model_id)
        content = self.context.library.blobs.read(model.sha256)
        self.inputs["features"] = model.sha256

        def describe(images: Pixels) -> Any:
            return np.concatenate(
                list(features(content, model, ImagesInMemory(images), source.tensor, "the translations"))
            )

        return describe

    def hand_over(self, trained: loop.Trained, evaluation: dict[Direction, DirectionEvaluation]) -> JobResult:
        """Hand over the generators and the translator."""
        context, request = self.context, self.request
        if request.evaluation_dataset_id is not None:
            self.inputs["evaluation_dataset"] = context.library.datasets.get(request.evaluation_dataset_id).sha256
        origin = provenance_of(request.model_dump(mode="json"), self.inputs, request.seed)
        models = {direction: self._model(direction, origin) for direction in self.translate.directions}
        with self._archive(self.loop.state()) as file:
            blob = context.store_blob(file)
        for model in models.values():
            context.add_model(model)
        return context.add_translator(
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
                training=self._record(trained),
                evaluation=evaluation,
                warnings=_warnings(request, trained, evaluation),
                provenance=origin,
                files={
                    SAMPLES: stored(context, self.keeper.last_sheet, "image/png"),
                    CURVES: stored(context, self.keeper.last_curves, "image/png"),
                },
            )
        )

    def _record(self, trained: loop.Trained) -> TrainingRecord:
        how = self.trainer.accelerator.record
        ended: Literal["budget", "request", "time_limit", "diverged"] = trained.ended_by
        if ended == "request" and self.out_of_time:
            ended = "time_limit"
        return TrainingRecord(
            method=self.request.method,
            steps=trained.steps,
            epochs=round(trained.epochs, 3),
            seconds=round(trained.seconds, 2),
            steps_per_second=round(trained.steps / max(trained.seconds, 1e-9), 4),
            waited_seconds=round(self.trainer.data.waited, 3),
            ended_by=ended,
            losses=trained.losses,
            parameters=self.trainer.parameters,
            precision=how.precision,
            compiled=how.compiled,
            acceleration=how.explanation,
            restarts=trained.restarts,
            resumed=self.resumed,
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
            metadata=generator_metadata(self.request.image_size),
            inputs=input_specs(graph),
            outputs=output_specs(graph),
            opset=opset_of(graph),
            parameters=parameter_count(graph),
            provenance=origin,
        )


def _graded_on(context: Context, request: TranslatorTraining, record: Dataset, images: Images) -> EvaluationSet:
    """Read the images to grade with: those of the evaluation dataset, or of training."""
    library = context.library
    other = None if request.evaluation_dataset_id is None else library.datasets.get(request.evaluation_dataset_id)
    used = record if other is None else other
    with open_dataset(library.blobs.path(used.sha256), DatasetKind.DOMAINS, context.settings) as data:
        return evaluation_set(data, images, request.image_size, held_out=other is not None, paired=bool(used.paired))


def _warnings(
    request: TranslatorTraining, trained: loop.Trained, evaluation: dict[Direction, DirectionEvaluation]
) -> list[str]:
    found = []
    if trained.ended_by == "diverged":
        found.append(
            "Losses were not finite twice, at a lower rate too, so training ended early with its last good state. Try "
            "a lower learning_rate."
        )
    if trained.restarts and trained.ended_by != "diverged":
        found.append("A loss was not finite once; training went back to its last checkpoint and on at half the rate.")
    if request.evaluation_dataset_id is None:
        found.append("The evaluation looks at images of the training set. Name an `evaluation_dataset_id` for others.")
    if request.features is not None and not all(graded.metrics for graded in evaluation.values()):
        found.append(f"Density, coverage and FID were not measured: they take {LEAST} images of each domain at least.")
    return found
