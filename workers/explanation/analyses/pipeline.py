"""An analysis job: from a stored explanation to a stored analysis."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.analyses import (
    AbstractionsRequest,
    AbstractionsResult,
    Analysis,
    AnalysisResult,
    CopyPasteRequest,
    CopyPasteResult,
    DriftRequest,
    DriftResult,
    InterpretabilityRequest,
    InterpretabilityResult,
    ModelDrift,
)
from faceter.contracts.base import utc_now
from faceter.contracts.datasets import DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.explanations import Explanation, Unit
from faceter.contracts.jobs import AnalysisJob, JobResult
from faceter.contracts.models import Model
from faceter.datasets.concepts import ConceptsDataset
from faceter.datasets.detection import DetectionDataset
from faceter.datasets.images import ImagesDataset
from faceter.datasets.kinds import AnyDataset, open_dataset
from faceter.datasets.text_pairs import TextPairsDataset
from faceter.explanations.masks import MASKS, Masks, read_masks
from faceter.explanations.units import read_units
from workers.explanation.analyses.abstractions import abstractions, together_in
from workers.explanation.analyses.class_scores import ClassScores
from workers.explanation.analyses.copy_paste import copy_paste
from workers.explanation.analyses.drift import model_drift, overlaps
from workers.explanation.analyses.interpretability import interpretability, scatter
from workers.explanation.analyses.labelled import Rightness, on_boxes, on_images
from workers.explanation.analyses.pair_classifier import PairClassifier
from workers.explanation.analyses.paste import EXAMPLES, paste
from workers.explanation.context import Context
from workers.explanation.first_pass import FirstPass, FirstPassJob
from workers.explanation.kinds import samples_of
from workers.explanation.layers import LayerResult, search_layer
from workers.explanation.pipeline import units_of
from workers.explanation.samples import Samples
from workers.explanation.search import FormulaSearch
from workers.explanation.stream import Network
from workers.explanation.units import UnitWriter
from workers.files import stored
from workers.jobs.journal import NoJournal
from workers.jobs.provenance import provenance_of
from workers.jobs.scratch import ScratchFiles, scratch_folder

SCATTER = "interpretability.png"
"""Name of the plot of accuracy against IoU."""

_READ_AT_ONCE = 16


def analyse(context: Context, specification: AnalysisJob) -> JobResult:
    """Analyse an explanation, and hand over what was found.

    Args:
        context: The job's.
        specification: Which explanation, and what to analyse.

    Raises:
        FaceterError: Whatever keeps it from being done, in words to act on.
    """
    began = time.monotonic()
    work = _Work(context, specification)
    result, files = work.done()
    blob = context.store_blob(result.model_dump_json(indent=1).encode())
    return context.add_analysis(
        Analysis(
            id=context.new_id("anl"),
            explanation_id=specification.explanation_id,
            created_at=utc_now(),
            sha256=blob.sha256,
            bytes=blob.bytes,
            settings=specification.request,
            result=result,
            warnings=work.warnings,
            seconds=round(time.monotonic() - began, 2),
            provenance=provenance_of(
                specification.request.model_dump(mode="json"),
                work.inputs,
                getattr(specification.request, "seed", None),
            ),
            files={name: stored(context, content, "image/png") for name, content in files.items()},
        )
    )


class _Work:
    """One analysis."""

    def __init__(self, context: Context, specification: AnalysisJob) -> None:
        self._context, self._request = context, specification.request
        library = context.library
        self._explanation: Explanation = library.explanations.get(specification.explanation_id)
        self._model = library.models.get(self._explanation.model_id)
        self._units = read_units(library.blobs.path(self._explanation.sha256))
        self.inputs = {"explanation": self._explanation.sha256, "model": self._model.sha256}
        self.warnings: list[str] = []

    def done(self) -> tuple[AnalysisResult, dict[str, bytes]]:
        """Return what was found, and plots by name."""
        match self._request:
            case AbstractionsRequest() as request:
                return self._abstractions(request), {}
            case InterpretabilityRequest() as request:
                found = self._interpretability(request)
                return found, {SCATTER: scatter(self._units, found, self._explanation.name)}
            case CopyPasteRequest() as request:
                return self._copy_paste(request)
            case DriftRequest() as request:
                return self._drift(request), {}
            case other:
                assert_never(other)

    def _abstractions(self, request: AbstractionsRequest) -> AbstractionsResult:
        with self._opened() as data:
            samples = samples_of(data, self._kind, self._model, self._explanation.settings)
            names = [concept.name for concept in samples.concepts]
            together = together_in(self._presence(samples, names), names, request.together_from)
            vectors = _word_vectors(data, names) if isinstance(data, TextPairsDataset) else None
        return abstractions(self._units, request, vectors, together)

    def _presence(self, samples: Samples, names: Sequence[str]) -> Iterator[set[str]]:
        """Yield the concepts of each sample."""
        for start in range(0, len(samples), _READ_AT_ONCE):
            for labels in samples.read(range(start, min(start + _READ_AT_ONCE, len(samples)))).labels:
                numbers = set(labels.everywhere)
                for group, values in zip(samples.groups, labels.values, strict=True):
                    numbers.update(group.first + int(value) - 1 for value in np.unique(values) if value)
                yield {names[number] for number in numbers}
            self._context.progress("what is in each sample", 0.9 * start / len(samples))

    def _interpretability(self, request: InterpretabilityRequest) -> InterpretabilityResult:
        if request.dataset_id is None:
            found, of = self._own_rightness(), "accuracy"
        else:
            found, of = self._rightness_on(request.dataset_id)
        explained = interpretability(
            self._units, found.fires, found.right, request.min_samples, "recall" if of == "recall" else "accuracy"
        )
        if len(explained.units) < len(self._units):
            left = len(self._units) - len(explained.units)
            self.warnings.append(f"{left} units are left out: they have no formula, or fire too seldom.")
        return explained

    def _own_rightness(self) -> Rightness:
        masks = self._masks()
        if masks.labels is None or masks.predicted is None:
            raise FaceterError(
                ProblemKind.DATASET_MISMATCH,
                "The explanation's dataset has no classes that the model predicts, so it is not known where the "
                "model is right. Name a labelled `dataset_id`.",
                field="dataset_id",
            )
        fires = np.concatenate([layer.fires for layer in masks.layers])
        return Rightness(fires, masks.labels == masks.predicted)

    def _rightness_on(self, id: str) -> tuple[Rightness, str]:
        library = self._context.library
        dataset = library.datasets.get(id)
        self.inputs["dataset"] = dataset.sha256
        content = library.blobs.read(self._model.sha256)

        def told(share: float) -> None:
            self._context.progress("running the model", 0.95 * share)

        with open_dataset(library.blobs.path(dataset.sha256), dataset.kind, self._context.settings) as data:
            if isinstance(data, DetectionDataset):
                return on_boxes(content, self._model, data, self._units, told), "recall"
            if isinstance(data, ImagesDataset):
                return on_images(content, self._model, data, self._units, told), "accuracy"
        raise FaceterError(
            ProblemKind.WRONG_DATASET_KIND,
            f"{id} is of kind {dataset.kind}; give one of kind images or detection.",
            field="dataset_id",
        )

    def _copy_paste(self, request: CopyPasteRequest) -> tuple[CopyPasteResult, dict[str, bytes]]:
        labels = self._model.metadata.labels or []
        content = self._context.library.blobs.read(self._model.sha256)
        images: dict[str, bytes] = {}
        with self._opened() as data:
            if isinstance(data, TextPairsDataset):
                model = PairClassifier(content, self._model, data)
                self._context.progress("changing sentences", 0.1)
                found = copy_paste(self._units, data.pairs, labels, model.probabilities, request)
            elif isinstance(data, ConceptsDataset):
                self._context.progress("changing images", 0.1)
                fires = np.concatenate([layer.fires for layer in self._masks().layers])
                scores = ClassScores(content, self._model)
                found, images[EXAMPLES], nothing = paste(self._units, data, fires, labels, scores, request)
                if nothing is not None:
                    self.warnings.append(nothing)
            else:
                raise FaceterError(
                    ProblemKind.METHOD_NOT_APPLICABLE,
                    "Signals are not changed: copy_paste is for images and text.",
                    field="kind",
                )
        if found.proposed.tries < request.tries and not self.warnings:
            self.warnings.append(
                f"{found.proposed.tries} inputs were changed, not {request.tries}: the others are predicted as the "
                "class already, or no change that formulas propose fits them."
            )
        return found, images

    def _masks(self) -> Masks:
        return read_masks(self._context.library.blobs.path(self._explanation.files[MASKS].sha256))

    def _drift(self, request: DriftRequest) -> DriftResult:
        library = self._context.library
        models = [library.models.get(id) for id in request.model_ids]
        with (
            self._opened() as data,
            tempfile.TemporaryDirectory(dir=scratch_folder(self._context.settings)) as folder,
            ExitStack() as opened,
        ):
            every = []
            for number, model in enumerate([self._model, *models]):
                place = Path(folder) / f"{number}"
                place.mkdir()
                share = 0.95 / (1 + len(models))
                told = partial(self._told, model.name, share * number, share)
                every.append(self._run(model, data, opened.enter_context(ScratchFiles(place)), told))
                self.inputs[f"model_{number}"] = model.sha256
            return DriftResult(
                models=[self._compared(every[0], other, model) for model, other in zip(models, every[1:], strict=True)]
            )

    def _told(self, name: str, start: float, share: float, done: float) -> None:
        self._context.progress(f"running {name}", start + share * done)

    def _run(self, model: Model, data: AnyDataset, files: ScratchFiles, told: Callable[[float], None]) -> _Ran:
        """Run a model over the samples and search for formulas as the explanation did."""
        request = self._explanation.settings
        samples = samples_of(data, self._kind, model, request)
        network = Network(self._context.library.blobs.read(model.sha256), request.layers, model.inputs, None)
        first = FirstPassJob(network, samples, request, partial(units_of, request), files).run(
            lambda done: told(0.7 * done)
        )
        patterns = first.table.patterns()
        search = FormulaSearch(patterns, request)
        results = [
            search_layer(first, layer, samples, search, network.device, files, NoJournal()) for layer in first.layers
        ]
        writer = UnitWriter(data, samples, first, patterns, None)
        units = [
            unit for layer, result in zip(first.layers, results, strict=True) for unit in writer.units(layer, result)
        ]
        return _Ran(samples, first, results, units)

    def _compared(self, one: _Ran, other: _Ran, model: Model) -> ModelDrift:
        ious = [
            overlaps(one.first, here, found.thresholds, other.first, there, found_there.thresholds, one.samples.grid)
            for here, found, there, found_there in zip(
                one.first.layers, one.results, other.first.layers, other.results, strict=True
            )
        ]
        return model_drift(model.id, bits_of(model), one.units, other.units, np.concatenate(ious))

    @contextmanager
    def _opened(self) -> Iterator[AnyDataset]:
        """Open the explanation's dataset."""
        dataset = self._context.library.datasets.get(self._explanation.settings.dataset_id)
        self.inputs["explained_dataset"] = dataset.sha256
        path = self._context.library.blobs.path(dataset.sha256)
        with open_dataset(path, dataset.kind, self._context.settings) as data:
            yield data

    @property
    def _kind(self) -> DatasetKind:
        return self._context.library.datasets.get(self._explanation.settings.dataset_id).kind


@dataclass(frozen=True)
class _Ran:
    """A model that was run over all samples and explained."""

    samples: Samples
    first: FirstPass
    results: list[LayerResult]
    units: list[Unit]


def bits_of(model: Model) -> str | None:
    """Return the bits of a model's weights and activations, such as ``W4A4``, if it was quantized here."""
    if model.quantization is None:
        return None
    settings = model.quantization.settings
    return "mixed" if settings.target is not None else f"W{settings.weight_bits}A{settings.activation_bits}"


def _word_vectors(data: TextPairsDataset, names: Sequence[str]) -> dict[str, NDArray[np.float64]] | None:
    """Return the vectors of word concepts by their names; None if the dataset has none."""
    vectors = data.vectors()
    if vectors is None:
        return None
    of_words = {word: vector.astype(np.float64) for word, vector in zip(*vectors, strict=True)}
    return {name: of_words[word] for name in names if (word := name.split(":", 2)[-1]) in of_words and ":tok:" in name}
