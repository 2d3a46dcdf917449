"""An analysis job: from a stored explanation to a stored analysis."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.analyses import (
    AbstractionsRequest,
    AbstractionsResult,
    Analysis,
    AnalysisRequest,
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
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.jobs import AnalysisJob, JobResult
from faceter.contracts.models import Model
from faceter.datasets.concepts import ConceptsDataset
from faceter.datasets.detection import DetectionDataset
from faceter.datasets.images import ImagesDataset
from faceter.datasets.kinds import open_dataset
from faceter.datasets.text_pairs import TextPairsDataset
from workers.explanation.analyses.abstractions import abstractions, cooccurrence
from workers.explanation.analyses.class_scores import ClassScores
from workers.explanation.analyses.correctness import UnitCorrectness, box_correctness, image_correctness
from workers.explanation.analyses.drift import firing_iou, model_drift
from workers.explanation.analyses.explained_model import ExplainedModel, explain_model
from workers.explanation.analyses.image_copy_paste import copy_paste_images
from workers.explanation.analyses.inputs import AnalysisInputs
from workers.explanation.analyses.interpretability import Metric, interpretability, plot_interpretability
from workers.explanation.analyses.pair_classifier import PairClassifier
from workers.explanation.analyses.text_copy_paste import copy_paste_pairs
from workers.explanation.probe.build import build_probe_dataset
from workers.explanation.probe.dataset import ProbeDataset
from workers.files import store_file
from workers.jobs.context import JobContext
from workers.jobs.provenance import provenance_of
from workers.jobs.scratch import ScratchFiles, scratch_folder
from workers.jobs.stages import Stage

SCATTER = "interpretability.png"
"""Name of the plot of accuracy against IoU."""

_BATCH = 16

_ACCURACY: Metric = "accuracy"
_RECALL: Metric = "recall"


def analyse(context: JobContext, specification: AnalysisJob) -> JobResult:
    """Analyse an explanation and store the analysis.

    Raises:
        FaceterError: The analysis cannot be done; the message says why.
    """
    began = time.monotonic()
    request, inputs = specification.request, AnalysisInputs(context, specification)
    result, plots = _analysed(inputs, request)
    blob = context.store_blob(result.model_dump_json(indent=1).encode())
    return context.result(
        Analysis(
            id=context.new_id("anl"),
            explanation_id=specification.explanation_id,
            created_at=utc_now(),
            sha256=blob.sha256,
            bytes=blob.bytes,
            settings=request,
            result=result,
            warnings=inputs.warnings,
            seconds=round(time.monotonic() - began, 2),
            provenance=provenance_of(request.model_dump(mode="json"), inputs.hashes, getattr(request, "seed", None)),
            files={name: store_file(context, content, "image/png") for name, content in plots.items()},
        )
    )


def _analysed(inputs: AnalysisInputs, request: AnalysisRequest) -> tuple[AnalysisResult, dict[str, bytes]]:
    """Return the result, and plots by name."""
    match request:
        case AbstractionsRequest():
            return _abstractions(inputs, request), {}
        case InterpretabilityRequest():
            result = _interpretability(inputs, request)
            return result, {SCATTER: plot_interpretability(inputs.units, result, inputs.explanation.name)}
        case CopyPasteRequest():
            return _copy_paste(inputs, request)
        case DriftRequest():
            return _drift(inputs, request), {}
        case other:
            assert_never(other)


def _abstractions(inputs: AnalysisInputs, request: AbstractionsRequest) -> AbstractionsResult:
    stages = inputs.context.stages({"concepts of each sample": 9.0, "grouping the units": 1.0})
    with inputs.open_dataset() as data:
        probe = build_probe_dataset(data, inputs.dataset_kind, inputs.model, inputs.explanation.settings)
        names = [concept.name for concept in probe.concepts]
        samples = _sample_concepts(probe, names, stages.enter("concepts of each sample"))
        cooccur = cooccurrence(samples, names, request.together_from)
        vectors = _word_vectors(data, names) if isinstance(data, TextPairsDataset) else None
    stages.enter("grouping the units")
    return abstractions(inputs.units, request, vectors, cooccur)


def _sample_concepts(probe: ProbeDataset, names: Sequence[str], progress: Stage) -> Iterator[set[str]]:
    """Yield the names of the concepts in each sample."""
    for start in range(0, len(probe), _BATCH):
        for concepts in probe.read(range(start, min(start + _BATCH, len(probe)))).concepts:
            numbers = set(concepts.sample_level)
            for labelled, labels in zip(probe.label_maps, concepts.label_maps, strict=True):
                numbers.update(labelled.first + int(label) - 1 for label in np.unique(labels) if label)
            yield {names[number] for number in numbers}
        progress(min(1.0, (start + _BATCH) / len(probe)))


def _word_vectors(data: TextPairsDataset, names: Sequence[str]) -> dict[str, NDArray[np.float64]] | None:
    """Return the embeddings of word concepts by name; None if the dataset has none."""
    vectors = data.vectors()
    if vectors is None:
        return None
    of_words = {word: vector.astype(np.float64) for word, vector in zip(*vectors, strict=True)}
    return {name: of_words[word] for name in names if (word := name.split(":", 2)[-1]) in of_words and ":tok:" in name}


def _interpretability(inputs: AnalysisInputs, request: InterpretabilityRequest) -> InterpretabilityResult:
    if request.dataset_id is None:
        observed, metric = _correctness_on_probe(inputs), _ACCURACY
    else:
        observed, metric = _correctness_on(inputs, request.dataset_id)
    result = interpretability(inputs.units, observed.fires, observed.correct, request.min_samples, metric)
    left_out = len(inputs.units) - len(result.units)
    if left_out:
        inputs.warnings.append(f"Units left out, since they have no formula or fire too seldom: {left_out}.")
    return result


def _correctness_on_probe(inputs: AnalysisInputs) -> UnitCorrectness:
    masks = inputs.masks()
    if masks.labels is None or masks.predicted is None:
        raise FaceterError(
            ProblemKind.DATASET_MISMATCH,
            "The explanation's dataset has no classes that the model predicts, so it is not known which predictions "
            "are correct. Give a labelled `dataset_id`.",
            field="dataset_id",
        )
    return UnitCorrectness(inputs.fires(), masks.labels == masks.predicted)


def _correctness_on(inputs: AnalysisInputs, dataset_id: str) -> tuple[UnitCorrectness, Metric]:
    """Return correctness on a labelled dataset, and the metric that it gives."""
    dataset = inputs.library.datasets.get(dataset_id)
    inputs.hashes["dataset"] = dataset.sha256
    content, model, units = inputs.model_content(), inputs.model, inputs.units
    progress = inputs.context.stages({"running the model": 1.0}).enter("running the model")
    path = inputs.library.blobs.path(dataset.sha256)
    with open_dataset(path, dataset.kind, inputs.context.settings) as data:
        if isinstance(data, DetectionDataset):
            return box_correctness(content, model, data, units, progress), _RECALL
        if isinstance(data, ImagesDataset):
            return image_correctness(content, model, data, units, progress), _ACCURACY
    raise FaceterError(
        ProblemKind.WRONG_DATASET_KIND,
        f"{dataset_id} is of kind {dataset.kind}; give one of kind images or detection.",
        field="dataset_id",
    )


def _copy_paste(inputs: AnalysisInputs, request: CopyPasteRequest) -> tuple[CopyPasteResult, dict[str, bytes]]:
    labels, content = inputs.model.metadata.labels or [], inputs.model_content()
    plots: dict[str, bytes] = {}
    stages = inputs.context.stages({"changing sentences": 1.0, "changing images": 1.0})
    with inputs.open_dataset() as data:
        if isinstance(data, TextPairsDataset):
            classifier = PairClassifier(content, inputs.model, data)
            stages.enter("changing sentences")
            result = copy_paste_pairs(inputs.units, data.pairs, labels, classifier.probabilities, request)
        elif isinstance(data, ConceptsDataset):
            stages.enter("changing images")
            scores = ClassScores(content, inputs.model)
            result, plots, warning = copy_paste_images(inputs.units, data, inputs.fires(), labels, scores, request)
            if warning is not None:
                inputs.warnings.append(warning)
        else:
            raise FaceterError(
                ProblemKind.METHOD_NOT_APPLICABLE,
                "`copy_paste` is for images and text, not for signals.",
                field="kind",
            )
    if result.proposed.tries < request.tries and not inputs.warnings:
        inputs.warnings.append(
            f"{result.proposed.tries} inputs were changed, not {request.tries}: the others are predicted as the class "
            "already, or no proposed change applies to them."
        )
    return result, plots


def _drift(inputs: AnalysisInputs, request: DriftRequest) -> DriftResult:
    context, library, settings = inputs.context, inputs.library, inputs.explanation.settings
    models = [inputs.at_explained_shapes(library.models.get(id)) for id in request.model_ids]
    stages = context.stages({"running the models": 19.0 * (1 + len(models)), "comparing them": 1.0})
    running, count = stages.enter("running the models"), 1 + len(models)
    with (
        inputs.open_dataset() as data,
        tempfile.TemporaryDirectory(dir=scratch_folder(context.settings)) as name,
        ExitStack() as stack,
    ):
        explained = []
        for number, model in enumerate([inputs.model, *models]):
            folder = Path(name) / f"{number}"
            folder.mkdir()
            files = stack.enter_context(ScratchFiles(folder))
            content = library.blobs.read(model.sha256)
            progress = running.part(number / count, (number + 1) / count, f"running {model.name}")
            explained.append(explain_model(content, model, data, inputs.dataset_kind, settings, files, progress))
            inputs.hashes[f"model_{number}"] = model.sha256
        stages.enter("comparing them")
        original, *others = explained
        return DriftResult(
            models=[_model_drift(original, other, model) for model, other in zip(models, others, strict=True)]
        )


def _model_drift(one: ExplainedModel, other: ExplainedModel, model: Model) -> ModelDrift:
    pairs = zip(one.recorded.layers, one.results, other.recorded.layers, other.results, strict=True)
    ious = [
        firing_iou(
            one.recorded, layer, result.thresholds, other.recorded, other_layer, other_result.thresholds, one.probe.grid
        )
        for layer, result, other_layer, other_result in pairs
    ]
    return model_drift(model.id, bits_of(model), one.units, other.units, np.concatenate(ious))


def bits_of(model: Model) -> str | None:
    """Return the bits of a quantized model's weights and activations, such as ``W4A4``; None if it is not quantized."""
    if model.quantization is None:
        return None
    settings = model.quantization.settings
    return "mixed" if settings.target is not None else f"W{settings.weight_bits}A{settings.activation_bits}"
