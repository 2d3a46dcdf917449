"""Predictions: run a model on images or tensors, and decode its outputs."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from pydantic import Field, Json

from app.services.core import Service
from app.services.images import UploadedImage
from app.services.input_shapes import validate_image_shape
from app.services.predictions.boxes import detections_of, tensor_input_size
from app.services.predictions.further_inputs import further_inputs
from app.services.predictions.input_checks import check_tensors
from app.services.predictions.json_inputs import inputs_of, parse_body, to_arrays
from app.services.predictions.json_outputs import joined
from app.services.predictions.recorded_runs import with_recorded_runs
from app.services.predictions.texts import predict_texts, texts_of, validate_form
from faceter.contracts.base import Contract
from faceter.contracts.detection import DetectionDecoding
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.input_shapes import InputShapes
from faceter.contracts.models import Model, Task, TensorSpec
from faceter.contracts.predictions import Classification, Detection, Prediction, RecognizedText
from faceter.contracts.preprocessing import Preprocessing
from faceter.contracts.serving import EngineName, ServingReport
from faceter.engines.base import Array, Interrupt, LoadedModel
from faceter.engines.input_shapes import at_input_shapes
from faceter.engines.padding import without_padding
from faceter.text.tokenizer import TOKENIZER, Tokenizer
from faceter.vision.classification import softmax_top
from faceter.vision.decoder import InputImage, open_input_image
from faceter.vision.metadata import class_output, image_input
from faceter.vision.preprocess import Placement, as_dtype
from faceter.vision.text_recognition import greedy_texts

_IMAGES_PER_RUN: Final = 32
_BYTES_PER_VALUE: Final = 4


class PredictOptions(Contract):
    """Options of a prediction."""

    top_k: int = Field(default=5, ge=1, le=1000, examples=[5])
    """For classifiers: number of most likely classes to return."""
    score_threshold: float | None = Field(default=None, ge=0, le=1, examples=[0.5])
    """For detectors: minimum score of boxes; the model's threshold by default."""
    raw: bool = Field(default=False, examples=[False])
    """Also return the raw outputs of the model."""
    input_shapes: Json[InputShapes] | None = Field(default=None, examples=['{"images": [1, 3, 320, 320]}'])
    """For images: shape of the image input, as JSON, where the file leaves it open; by default that of the metadata."""
    engine: EngineName | None = Field(default=None, examples=["onnxruntime"])
    """Engine to run the model with; by default the one that serves it, see `serving` of the model."""


@dataclass
class _RunOutputs:
    """Outputs of several runs, and the time they took."""

    runs: list[dict[str, Array]] = field(default_factory=list)
    seconds: float = 0.0
    probability_outputs: frozenset[str] = frozenset()
    """Outputs that are probabilities, as the graph makes them."""

    def outputs(self) -> dict[str, Array]:
        """Return each output, concatenated over all runs."""
        if len(self.runs) == 1:
            return self.runs[0]
        return {name: joined([run[name] for run in self.runs]) for name in (self.runs or [{}])[0]}


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
        if options.input_shapes:
            validate_image_shape(model, options.input_shapes, self.settings)
            model = at_input_shapes(model, options.input_shapes)
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
        self._check_size(len(images), preprocessing)
        placements: list[Placement] = []
        results = _RunOutputs()
        fixed = spec.shape[0] if isinstance(spec.shape[0], int) else None
        with self._loaded(model, options.engine) as loaded:
            for group in _groups(images, fixed or _IMAGES_PER_RUN):
                batch = np.empty((fixed or len(group), *preprocessing.shape), np.float32)
                for row, upload in enumerate(group):
                    batch[row], placement = self._open(upload, preprocessing).preprocessed()
                    placements.append(placement)
                batch[len(group) :] = batch[0]
                others = further_inputs(model, spec, len(batch), (preprocessing.size[0], preprocessing.size[1]))
                outputs = _run(loaded, {spec.name: as_dtype(batch, spec.dtype), **others}, results, interrupt)
                results.runs.append(without_padding(outputs, len(batch), len(group)))
        return self._prediction(model, results, options, placements)

    def _check_size(self, images: int, preprocessing: Preprocessing) -> None:
        """Check that the tensors of images take no more than a quarter of the memory for predictions.

        Raises:
            FaceterError: `INVALID_INPUT`.
        """
        height, width = preprocessing.size
        values = min(images, _IMAGES_PER_RUN) * math.prod(preprocessing.shape)
        if values * _BYTES_PER_VALUE > self.settings.bytes_of_predictions // 4:
            raise FaceterError(
                ProblemKind.INVALID_INPUT,
                f"At the size of the model, {height} × {width}, the images take {values * _BYTES_PER_VALUE:,} bytes, "
                "more than this server allows at a time. Send fewer, or upload the model with a smaller size.",
                field="file",
            )

    def predict_json(self, model: Model, body: bytes, options: PredictOptions, interrupt: Interrupt) -> Prediction:
        """Return the prediction of a model for tensors or texts in JSON.

        Boxes of a detector are in pixels of the model's input.

        Args:
            model: Any model; for texts one with a tokenizer.
            body: `{"inputs": {NAME: nested list, …}}`, `{"texts": […]}` or `{"text_pairs": [[…, …], …]}`.
            options: Options.
            interrupt: Interrupts inference.

        Raises:
            FaceterError: The errors of `parse_body`, `to_arrays`, `texts_of`, loading and inference.
        """
        document = parse_body(body)
        texts = texts_of(document, most=self.settings.max_batch)
        if texts is not None:
            validate_form(model, texts)
            with self._loaded(model, options.engine) as loaded, self._tokenizer(model) as tokenizer:
                return predict_texts(
                    model, loaded, tokenizer, texts, top_k=options.top_k, raw=options.raw, interrupt=interrupt
                )
        inputs = to_arrays(inputs_of(document), model.inputs, max_rows=self.settings.max_batch)
        results = _RunOutputs()
        with self._loaded(model, options.engine) as loaded:
            results.runs.append(_run(loaded, inputs, results, interrupt))
        size = tensor_input_size(model, inputs) if model.metadata.detection else None
        return self._prediction(model, results, options, None, size)

    def infer(
        self, model: Model, inputs: Mapping[str, Array], outputs: Sequence[str] | None, interrupt: Interrupt
    ) -> dict[str, Array]:
        """Return outputs of a model for the tensors of its graph, as the engine takes and gives them.

        Args:
            model: A model whose inputs are tensors.
            inputs: All inputs by name; text is an array of objects, bfloat16 one of float32.
            outputs: Names of the outputs to compute; all by default.
            interrupt: Interrupts inference.

        Raises:
            FaceterError: `INVALID_INPUT`, naming the input; the errors of loading and inference.
        """
        check_tensors(inputs, model.inputs, max_rows=self.settings.max_batch)
        with self._loaded(model) as loaded:
            started = time.perf_counter()
            results = loaded.run(inputs, outputs, interrupt=interrupt)
            self.core.monitoring.observe_inference(time.perf_counter() - started)
        return results

    def load(self, model: Model) -> ServingReport | None:
        """Load a model, after measuring what serves it; see `ModelServer.load`.

        Raises:
            FaceterError: The errors of loading.
        """
        return self.core.model_server.load(model)

    def unload(self, model: Model) -> None:
        """Drop a model from the cache; a model in use is dropped after its last use."""
        self.core.sessions.drop(model.sha256)

    def _loaded(self, model: Model, engine: EngineName | None = None) -> AbstractContextManager[LoadedModel]:
        return with_recorded_runs(self.core.model_server.serving(model, engine), model.id)

    def _tokenizer(self, model: Model) -> AbstractContextManager[Tokenizer]:
        sha256 = model.files[TOKENIZER].sha256

        def load() -> Tokenizer:
            return Tokenizer(self.library.blobs.read(sha256), seconds=self.settings.inference_seconds)

        return self.core.sessions.cached((model.sha256, TOKENIZER, sha256), load)

    def _open(self, image: UploadedImage, preprocessing: Preprocessing) -> InputImage:
        try:
            return open_input_image(image.content, preprocessing, max_pixels=self.settings.max_pixels, name=image.name)
        except FaceterError as error:
            raise (error.at(image.field) if image.field else error) from error

    def _prediction(
        self,
        model: Model,
        results: _RunOutputs,
        options: PredictOptions,
        placements: Sequence[Placement] | None,
        input_size: tuple[int, int] | None = None,
    ) -> Prediction:
        outputs = results.outputs()
        predictions: list[Classification] | None = None
        detections: list[list[Detection]] | None = None
        texts: list[RecognizedText] | None = None
        if model.metadata.task.classifies:
            name = class_output(model.metadata, model.outputs).name
            predictions = softmax_top(
                outputs[name],
                model.metadata.labels,
                options.top_k,
                are_probabilities=name in results.probability_outputs,
            )
        elif model.metadata.task is Task.OBJECT_DETECTION and model.metadata.detection and model.metadata.preprocessing:
            height, width = model.metadata.preprocessing.size
            detections = detections_of(
                outputs,
                _decoding(model.metadata.detection, options),
                input_size or (height, width),
                model.metadata.labels,
                placements,
            )
        elif model.metadata.task is Task.TEXT_RECOGNITION:
            name = class_output(model.metadata, model.outputs).name
            texts = greedy_texts(
                outputs[name], model.metadata.labels, are_probabilities=name in results.probability_outputs
            )
        raw = options.raw or (predictions is None and detections is None and texts is None)
        return Prediction(
            model_id=model.id,
            predictions=predictions,
            detections=detections,
            texts=texts,
            outputs=outputs if raw else None,
            milliseconds=round(results.seconds * 1000, 3),
        )


def required_image_input(model: Model) -> tuple[TensorSpec, Preprocessing]:
    """Return the image input of a model, and its preprocessing.

    Raises:
        FaceterError: `INVALID_INPUT` if the model has no preprocessing, or an input beside the image whose value is not
            known.
    """
    preprocessing = model.metadata.preprocessing
    if preprocessing is None:
        raise FaceterError(
            ProblemKind.INVALID_INPUT,
            "The model's metadata has no `preprocessing`, so it is not known how an image is converted to its input. "
            'Upload it again with one, or send JSON: {"inputs": {…}}.',
        )
    spec = image_input(preprocessing, model.inputs)
    further_inputs(model, spec, 1, (preprocessing.size[0], preprocessing.size[1]))
    return spec, preprocessing


def _groups(images: Sequence[UploadedImage], size: int) -> Iterator[Sequence[UploadedImage]]:
    for start in range(0, len(images), size):
        yield images[start : start + size]


def _run(
    loaded: LoadedModel, inputs: Mapping[str, Array], results: _RunOutputs, interrupt: Interrupt
) -> dict[str, Array]:
    started = time.perf_counter()
    outputs = loaded.run(inputs, interrupt=interrupt)
    results.seconds += time.perf_counter() - started
    results.probability_outputs = loaded.probability_outputs
    return outputs


def _decoding(decoding: DetectionDecoding, options: PredictOptions) -> DetectionDecoding:
    if options.score_threshold is None:
        return decoding
    return decoding.model_copy(update={"score_threshold": options.score_threshold})
