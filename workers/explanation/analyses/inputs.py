"""What an analysis reads: the explanation, its model and its dataset."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.datasets import DatasetKind
from faceter.contracts.jobs import AnalysisJob
from faceter.contracts.models import Model
from faceter.datasets.kinds import open_dataset
from faceter.datasets.reader import DatasetReader
from faceter.datasets.tokenized import use_tokenizer_of
from faceter.engines.input_shapes import at_input_shapes
from faceter.explanations.masks import MASKS, ExplanationMasks, read_masks
from faceter.explanations.units import read_units
from workers.jobs.context import JobContext


class AnalysisInputs:
    """The explanation to analyse, and the hashes of everything that was read."""

    def __init__(self, context: JobContext, specification: AnalysisJob) -> None:
        self.context = context
        self.library = context.library
        self.explanation = self.library.explanations.get(specification.explanation_id)
        self.model = self.at_explained_shapes(self.library.models.get(self.explanation.model_id))
        self.units = read_units(self.library.blobs.path(self.explanation.sha256))
        self.hashes = {"explanation": self.explanation.sha256, "model": self.model.sha256}
        """SHA-256 of inputs by role, for provenance."""
        self.warnings: list[str] = []

    def at_explained_shapes(self, model: Model) -> Model:
        """Return a model at the input shapes of the explanation."""
        return at_input_shapes(model, self.explanation.settings.input_shapes)

    @property
    def dataset_kind(self) -> DatasetKind:
        """Kind of the probe dataset."""
        return self.library.datasets.get(self.explanation.settings.dataset_id).kind

    @contextmanager
    def open_dataset(self) -> Iterator[DatasetReader]:
        """Open the probe dataset."""
        dataset = self.library.datasets.get(self.explanation.settings.dataset_id)
        self.hashes["explained_dataset"] = dataset.sha256
        with open_dataset(self.library.blobs.path(dataset.sha256), dataset.kind, self.context.settings) as data:
            seconds = self.context.settings.inference_seconds
            use_tokenizer_of(data, self.model, self.library.blobs.read, seconds=seconds)
            yield data

    def model_content(self) -> bytes:
        """Return the ONNX file of the model."""
        return self.library.blobs.read(self.model.sha256)

    def masks(self) -> ExplanationMasks:
        """Return the masks of the explanation."""
        return read_masks(self.library.blobs.path(self.explanation.files[MASKS].sha256))

    def fires(self) -> NDArray[np.bool_]:
        """Return in which samples the units of all layers fire, bool [U, N]."""
        return np.concatenate([layer.fires for layer in self.masks().layers])
