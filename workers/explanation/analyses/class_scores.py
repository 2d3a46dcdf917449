"""Class scores of single images by a classifier or a detector."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import Model
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.engines.padding import without_padding
from faceter.host import processor_count
from faceter.vision.classification import probabilities
from faceter.vision.detection import decode, for_evaluation
from faceter.vision.metadata import class_output
from faceter.vision.preprocess import as_dtype, preprocess
from workers.model_input import Batch, inference_batch_size, pad_batch, require_image_input

Floats = NDArray[np.float64]


class ClassScores:
    """Scores images: probabilities of a classifier, or the highest score of a detector's boxes of each class.

    Args:
        content: The ONNX file.
        model: Its record.

    Raises:
        FaceterError: ``DATASET_MISMATCH`` if the model is neither a classifier nor a detector of images.
    """

    def __init__(self, content: bytes, model: Model) -> None:
        self.preprocessing, self._input = require_image_input(model.metadata, model.inputs, "kind")
        self._dtype = model.inputs[0].dtype
        self._detection, self._labels = model.metadata.detection, model.metadata.labels
        if self._detection is None and not model.metadata.task.classifies:
            raise FaceterError(
                ProblemKind.DATASET_MISMATCH,
                "The model is neither a classifier nor a detector with `detection` metadata, so it predicts no class.",
                field="kind",
            )
        self._output = class_output(model.metadata, model.outputs).name
        self._size, self._fixed = inference_batch_size(model.inputs, math.prod(self.preprocessing.shape))
        self._loaded = OnnxRuntimeEngine().load(content, threads=processor_count())

    @property
    def threshold(self) -> float | None:
        """Score from which a detector predicts a class; None for a classifier, which predicts the highest."""
        return None if self._detection is None else self._detection.score_threshold

    def __call__(self, images: Sequence[Image.Image]) -> Floats:
        """Return the score of each class in each image, float64 [N, C].

        Args:
            images: As decoded for ``preprocessing``, or changed since.
        """
        scores: list[Floats] = []
        for start in range(0, len(images), self._size):
            some = images[start : start + self._size]
            values = np.stack([preprocess(image, self.preprocessing)[0] for image in some])
            inputs: Batch = {self._input: as_dtype(values, self._dtype)}
            outputs = self._loaded.run(pad_batch(inputs, self._size) if self._fixed else inputs)
            if self._fixed:
                outputs = without_padding(outputs, self._size, len(some))
            scores.append(self._scores(outputs, len(some)))
        return np.concatenate(scores) if scores else np.zeros((0, len(self._labels or [])))

    def _scores(self, outputs: dict[str, NDArray[np.generic]], count: int) -> Floats:
        if self._detection is None:
            are_probabilities = self._output in self._loaded.probability_outputs
            return probabilities(outputs[self._output], are_probabilities=are_probabilities)
        height, width = self.preprocessing.size
        every = decode(outputs, for_evaluation(self._detection), (height, width))
        classes = (
            len(self._labels) if self._labels else 1 + max((int(b.classes.max(initial=0)) for b in every), default=0)
        )
        scores = np.zeros((count, classes))
        for row, boxes in zip(scores, every, strict=True):
            np.maximum.at(row, boxes.classes, boxes.scores)
        return scores
