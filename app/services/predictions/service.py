"""Predictions: run a model on images or tensors, and decode its outputs."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from PIL import Image
from pydantic import Field

from app.services.core import Service
from app.services.images import UploadedImage
from app.services.predictions.json_inputs import parse_inputs, to_arrays
from faceter.contracts.base import Contract
from faceter.contracts.detection import DetectionDecoding
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import Model, Preprocessing, Task, TensorSpec
from faceter.contracts.predictions import Classification, Detection, Prediction
from faceter.engines.base import Array, Interrupt, LoadedModel
from faceter.vision.boxes import Detections
from faceter.vision.classification import softmax_top
from faceter.vision.detection import decode
from faceter.vision.images import open_rgb_image
from faceter.vision.metadata import class_output, image_input
from faceter.vision.preprocess import Placement, preprocess

CLASSIFICATIONS: Final = (Task.IMAGE_CLASSIFICATION, Task.TEXT_PAIR_CLASSIFICATION, Task.SIGNAL_CLASSIFICATION)
"""Tasks with classes and scores as predictions."""

_IMAGES_PER_RUN: Final = 32


class PredictOptions(Contract):
    """Options of a prediction."""

    top_k: int = Field(default=5, ge=1, le=1000, examples=[5])
    """For classifiers: number of most likely classes to return."""
    score_threshold: float | None = Field(default=None, ge=0, le=1, examples=[0.5])
    """For detectors: minimum score of boxes; the model's threshold by default."""
    raw: bool = Field(default=False, examples=[False])
    """Also return the raw outputs of the model."""


@dataclass
class _RunOutputs:
    """Outputs of several runs, and the time they took."""

    runs: list[dict[str, Array]] = field(default_factory=list)
    seconds: float = 0.0

    def outputs(self) -> dict[str, Array]:
        """Return each output, concatenated over all runs."""
        if len(self.runs) == 1:
            return self.runs[0]
        return {
            name: np.concatenate([np.atleast_1d(run[name]) for run in self.runs]) for name in (self.runs or [{}])[0]
        }


class PredictionService(Service):
    """Runs models on images and tensors."""

    def predict_images(
        self, model: Model, images: Sequence[UploadedImage], options: PredictOptions, interrupt: Interrupt
    ) -> Prediction:
        """Return the prediction of a model for images.

        Args:
            model: A model with `preprocessing` and a single input.
            images: At least one.
            options: Options.
            interrupt: Interrupts inference.

        Raises:
            FaceterError: `INVALID_INPUT` if the model does not take images, or for none or too many images;
                `INVALID_IMAGE` or `IMAGE_TOO_LARGE`, naming the image; the errors of loading and inference.
        """
        spec, preprocessing = required_image_input(model)
        if not images:
            raise FaceterError(
                ProblemKind.INVALID_INPUT, "There is no image; send at least one (curl: -F file=@PATH).", field="file"
            )
        if len(images) > self.settings.max_batch:
            raise FaceterError(
                ProblemKind.INVALID_INPUT,
                f"There are {len(images)} images; send {self.settings.max_batch} at most at a time.",
                field="file",
            )
        height, width = preprocessing.size
        placements: list[Placement] = []
        results = _RunOutputs()
        fixed = spec.shape[0] if isinstance(spec.shape[0], int) else None
        with self._loaded(model) as loaded:
            for group in _groups(images, fixed or _IMAGES_PER_RUN):
                batch = np.empty((fixed or len(group), preprocessing.channels, height, width), np.float32)
                for row, upload in enumerate(group):
                    image = self._open(upload)
                    batch[row], placement = preprocess(image, preprocessing)
                    placements.append(placement)
                batch[len(group) :] = batch[0]
                outputs = _run(loaded, {spec.name: batch.astype(spec.dtype)}, results, interrupt)
                results.runs.append(_without_padding(outputs, len(batch), len(group)))
        return self._prediction(model, results, options, placements)

    def predict_tensors(self, model: Model, body: bytes, options: PredictOptions, interrupt: Interrupt) -> Prediction:
        """Return the prediction of a model for tensors in JSON.

        Boxes of a detector are in pixels of the model's input.

        Args:
            model: Any model.
            body: `{"inputs": {NAME: nested list, …}}`.
            options: Options.
            interrupt: Interrupts inference.

        Raises:
            FaceterError: The errors of `parse_inputs`, `to_arrays`, loading and inference.
        """
        inputs = to_arrays(parse_inputs(body), model.inputs, max_rows=self.settings.max_batch)
        results = _RunOutputs()
        with self._loaded(model) as loaded:
            results.runs.append(_run(loaded, inputs, results, interrupt))
        return self._prediction(model, results, options, None)

    def _loaded(self, model: Model) -> AbstractContextManager[LoadedModel]:
        return self.core.sessions.use(model.sha256, lambda: self.library.blobs.read(model.sha256), model.quantization)

    def _open(self, image: UploadedImage) -> Image.Image:
        try:
            return open_rgb_image(image.content, max_pixels=self.settings.max_pixels, name=image.name)
        except FaceterError as error:
            raise (error.at(image.field) if image.field else error) from error

    def _prediction(
        self, model: Model, results: _RunOutputs, options: PredictOptions, placements: Sequence[Placement] | None
    ) -> Prediction:
        outputs = results.outputs()
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
            milliseconds=round(results.seconds * 1000, 3),
        )


def required_image_input(model: Model) -> tuple[TensorSpec, Preprocessing]:
    """Return the image input of a model, and its preprocessing.

    Raises:
        FaceterError: `INVALID_INPUT` if the model has no preprocessing, or more than one input.
    """
    preprocessing = model.metadata.preprocessing
    if preprocessing is None:
        raise FaceterError(
            ProblemKind.INVALID_INPUT,
            "The model's metadata has no `preprocessing`, so it is not known how an image is converted to its input. "
            'Upload it again with one, or send JSON: {"inputs": {…}}.',
        )
    if len(model.inputs) > 1:
        names = ", ".join(spec.name for spec in model.inputs)
        raise FaceterError(
            ProblemKind.INVALID_INPUT, f'The model has several inputs ({names}); send JSON: {{"inputs": {{…}}}}.'
        )
    return image_input(preprocessing, model.inputs), preprocessing


def _groups(images: Sequence[UploadedImage], size: int) -> Iterator[Sequence[UploadedImage]]:
    for start in range(0, len(images), size):
        yield images[start : start + size]


def _run(
    loaded: LoadedModel, inputs: Mapping[str, Array], results: _RunOutputs, interrupt: Interrupt
) -> dict[str, Array]:
    started = time.perf_counter()
    outputs = loaded.run(inputs, interrupt=interrupt)
    results.seconds += time.perf_counter() - started
    return outputs


def _without_padding(outputs: Mapping[str, Array], rows: int, count: int) -> dict[str, Array]:
    """Return outputs without the rows that pad a fixed batch size."""
    if rows == count:
        return dict(outputs)
    return {name: value[:count] if value.ndim and value.shape[0] == rows else value for name, value in outputs.items()}


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
    detections = decode(outputs, decoding, (size[0], size[1]))
    return [
        _to_detections(boxes, labels, placements[index] if placements is not None else None)
        for index, boxes in enumerate(detections)
    ]


def _to_detections(boxes: Detections, labels: list[str] | None, placement: Placement | None) -> list[Detection]:
    corners: Any = boxes.boxes if placement is None else placement.to_image_pixels(boxes.boxes)
    return [
        Detection(
            index=int(index),
            label=labels[index] if labels is not None and index < len(labels) else str(index),
            score=min(float(score), 1.0),
            box=[float(value) for value in corner],
        )
        for index, score, corner in zip(boxes.classes.tolist(), boxes.scores, corners, strict=True)
    ]
