"""Prediction: images or tensors in, what the model answers out. Nothing here knows of HTTP."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from PIL import Image
from pydantic import Field

from app.http.uploaded_images import UploadedImage
from app.services.predictions.json_inputs import parse_inputs, to_arrays
from app.services.predictions.sessions import SessionCache
from faceter.contracts.base import Contract
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import DetectionDecoding, Model, Preprocessing, Task, TensorSpec
from faceter.contracts.predictions import Classification, Detection, Prediction
from faceter.contracts.settings import Settings
from faceter.engines.base import Array, Interrupt, LoadedModel
from faceter.vision.boxes import Boxes
from faceter.vision.classification import softmax_top
from faceter.vision.detection import decode
from faceter.vision.images import open_image
from faceter.vision.metadata import class_output, image_input
from faceter.vision.preprocess import Placement, preprocess

CLASSIFICATIONS: Final = (Task.IMAGE_CLASSIFICATION, Task.TEXT_PAIR_CLASSIFICATION, Task.SIGNAL_CLASSIFICATION)
"""Tasks whose answer is classes and scores."""

_IMAGES_PER_RUN: Final = 32


class PredictOptions(Contract):
    """What to answer."""

    top_k: int = Field(default=5, ge=1, le=1000, examples=[5])
    """For classifiers: how many of the likeliest classes to name."""
    score_threshold: float | None = Field(default=None, ge=0, le=1, examples=[0.5])
    """For detectors: leave out boxes with a lower score; the model's own threshold if not given."""
    raw: bool = Field(default=False, examples=[False])
    """Answer the model's outputs as they are, as well."""


@dataclass
class _Answers:
    """Outputs of several runs, and the time they took."""

    runs: list[dict[str, Array]] = field(default_factory=list)
    seconds: float = 0.0

    def outputs(self) -> dict[str, Array]:
        """Return each output with the rows of all runs together."""
        if len(self.runs) == 1:
            return self.runs[0]
        return {
            name: np.concatenate([np.atleast_1d(run[name]) for run in self.runs]) for name in (self.runs or [{}])[0]
        }


class Predictor:
    """Runs models on what was sent. Every method blocks: it is to be called in a thread.

    Args:
        sessions: Where models are loaded.
        read: Returns a stored file by its SHA-256.
        settings: `max_pixels` and `max_batch`.
    """

    def __init__(self, sessions: SessionCache, read: Callable[[str], bytes], settings: Settings) -> None:
        self._sessions = sessions
        self._read = read
        self._settings = settings

    def predict_images(
        self, model: Model, images: Sequence[UploadedImage], options: PredictOptions, interrupt: Interrupt
    ) -> Prediction:
        """Return what a model answers to images.

        Args:
            model: Has `preprocessing`, and an input for the image alone.
            images: At least one.
            options: What to answer.
            interrupt: Stops it.

        Raises:
            FaceterError: `INVALID_INPUT` if the model takes no images or there are none or too many;
                `INVALID_IMAGE` or `IMAGE_TOO_LARGE`, naming the image; what loading and running raise.
        """
        spec, preprocessing = required_image_input(model)
        if not images:
            raise FaceterError(
                ProblemKind.INVALID_INPUT, "There is no image; send at least one (curl: -F file=@PATH).", field="file"
            )
        if len(images) > self._settings.max_batch:
            raise FaceterError(
                ProblemKind.INVALID_INPUT,
                f"There are {len(images)} images; send {self._settings.max_batch} at most at a time.",
                field="file",
            )
        height, width = preprocessing.size
        placements: list[Placement] = []
        answers = _Answers()
        fixed = spec.shape[0] if isinstance(spec.shape[0], int) else None
        with self._sessions.use(model.sha256, lambda: self._read(model.sha256), model.quantization) as loaded:
            for group in _groups(images, fixed or _IMAGES_PER_RUN):
                batch = np.empty((fixed or len(group), preprocessing.channels, height, width), np.float32)
                for row, upload in enumerate(group):
                    image = self._open(upload)
                    batch[row], placement = preprocess(image, preprocessing)
                    placements.append(placement)
                batch[len(group) :] = batch[0]
                outputs = _run(loaded, {spec.name: batch.astype(spec.dtype)}, answers, interrupt)
                answers.runs.append(_first_rows(outputs, len(batch), len(group)))
        return self._prediction(model, answers, options, placements)

    def predict_tensors(self, model: Model, body: bytes, options: PredictOptions, interrupt: Interrupt) -> Prediction:
        """Return what a model answers to tensors in JSON.

        Boxes of a detector are in pixels of the model's input then.

        Args:
            model: Any model.
            body: `{"inputs": {NAME: nested list, …}}`.
            options: What to answer.
            interrupt: Stops it.

        Raises:
            FaceterError: What `parse_inputs`, `to_arrays`, loading and running raise.
        """
        inputs = to_arrays(parse_inputs(body), model.inputs, max_rows=self._settings.max_batch)
        answers = _Answers()
        with self._sessions.use(model.sha256, lambda: self._read(model.sha256), model.quantization) as loaded:
            answers.runs.append(_run(loaded, inputs, answers, interrupt))
        return self._prediction(model, answers, options, None)

    def _open(self, image: UploadedImage) -> Image.Image:
        try:
            return open_image(image.content, max_pixels=self._settings.max_pixels, name=image.name)
        except FaceterError as error:
            raise (error.at(image.field) if image.field else error) from error

    def _prediction(
        self, model: Model, answers: _Answers, options: PredictOptions, placements: Sequence[Placement] | None
    ) -> Prediction:
        outputs = answers.outputs()
        predictions: list[Classification] | None = None
        detections: list[list[Detection]] | None = None
        if model.metadata.task in CLASSIFICATIONS:
            name = class_output(model.metadata, model.outputs).name
            predictions = softmax_top(outputs[name], model.metadata.labels, options.top_k)
        elif model.metadata.task is Task.OBJECT_DETECTION and model.metadata.detection and model.metadata.preprocessing:
            detections = _detections(
                outputs,
                _decoding(model.metadata.detection, options),
                model.metadata.preprocessing.size,
                model.metadata.labels,
                placements,
            )
        raw = options.raw or (predictions is None and detections is None)
        return Prediction(
            model_id=model.id,
            predictions=predictions,
            detections=detections,
            outputs={name: value.tolist() for name, value in outputs.items()} if raw else None,
            milliseconds=round(answers.seconds * 1000, 3),
        )


def required_image_input(model: Model) -> tuple[TensorSpec, Preprocessing]:
    """Return the input of a model that takes the image, and how an image becomes it.

    Raises:
        FaceterError: `INVALID_INPUT` if the model has no preprocessing, or takes more than the image.
    """
    preprocessing = model.metadata.preprocessing
    if preprocessing is None:
        raise FaceterError(
            ProblemKind.INVALID_INPUT,
            "The model's metadata has no `preprocessing`, so it is not known how an image becomes its input. "
            'Upload it again with one, or send JSON: {"inputs": {…}}.',
        )
    if len(model.inputs) > 1:
        names = ", ".join(spec.name for spec in model.inputs)
        raise FaceterError(
            ProblemKind.INVALID_INPUT, f'The model takes more than an image ({names}); send JSON: {{"inputs": {{…}}}}.'
        )
    return image_input(preprocessing, model.inputs), preprocessing


def _groups(images: Sequence[UploadedImage], size: int) -> Iterator[Sequence[UploadedImage]]:
    for start in range(0, len(images), size):
        yield images[start : start + size]


def _run(loaded: LoadedModel, inputs: Mapping[str, Array], answers: _Answers, interrupt: Interrupt) -> dict[str, Array]:
    started = time.perf_counter()
    outputs = loaded.run(inputs, interrupt=interrupt)
    answers.seconds += time.perf_counter() - started
    return outputs


def _first_rows(outputs: Mapping[str, Array], rows: int, wanted: int) -> dict[str, Array]:
    """Return outputs without the rows that only filled up a fixed batch."""
    if rows == wanted:
        return dict(outputs)
    return {name: value[:wanted] if value.ndim and value.shape[0] == rows else value for name, value in outputs.items()}


def _decoding(decoding: DetectionDecoding, options: PredictOptions) -> DetectionDecoding:
    if options.score_threshold is None:
        return decoding
    return decoding.model_copy(update={"score_threshold": options.score_threshold})


def _detections(
    outputs: Mapping[str, Array],
    decoding: DetectionDecoding,
    size: Sequence[int],
    labels: list[str] | None,
    placements: Sequence[Placement] | None,
) -> list[list[Detection]]:
    found = decode(outputs, decoding, (size[0], size[1]))
    return [
        _named(boxes, labels, placements[index] if placements is not None else None)
        for index, boxes in enumerate(found)
    ]


def _named(boxes: Boxes, labels: list[str] | None, placement: Placement | None) -> list[Detection]:
    corners: Any = boxes.boxes if placement is None else placement.to_image(boxes.boxes)
    return [
        Detection(
            index=int(index),
            label=labels[index] if labels is not None and index < len(labels) else str(index),
            score=min(float(score), 1.0),
            box=[float(value) for value in corner],
        )
        for index, score, corner in zip(boxes.classes.tolist(), boxes.scores, corners, strict=True)
    ]
