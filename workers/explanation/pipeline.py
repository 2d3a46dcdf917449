"""An explanation job: from a stored model and a stored dataset to a stored explanation."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from functools import partial

import numpy as np

from faceter.contracts.base import utc_now
from faceter.contracts.datasets import Dataset
from faceter.contracts.explanations import Explanation, ExplanationRequest
from faceter.contracts.jobs import ExplanationJob, JobResult
from faceter.contracts.models import Model
from faceter.datasets.kinds import open_dataset
from faceter.datasets.tokenized import use_tokenizer_of
from faceter.engines.input_shapes import at_input_shapes
from faceter.explanations.masks import MASKS, ExplanationMasks, LayerMasks, encode_masks, unpack_bits
from faceter.explanations.units import encode_units
from faceter.vision.metadata import class_output
from workers.explanation.activation_recorder import ActivationRecorder
from workers.explanation.activations import OnnxActivationExtractor
from workers.explanation.class_statistics import ClassStatistics
from workers.explanation.divided_samples import DividedSamples
from workers.explanation.layer_search import LayerResult, StepProgress, search_layer
from workers.explanation.probe.build import build_probe_dataset
from workers.explanation.probe.dataset import ProbeDataset
from workers.explanation.recorded_activations import RecordedActivations, formula_masks
from workers.explanation.request_settings import require_firing_unit, select_units, with_default_quantile, with_defaults
from workers.explanation.search.formula_search import FormulaSearch
from workers.explanation.search.patterns import Patterns, formula_vector
from workers.explanation.summary import find_warnings, layer_summary, list_concepts, plot_layers
from workers.explanation.unit_records import UnitRecordBuilder
from workers.files import store_file
from workers.jobs.context import JobContext
from workers.jobs.journal import StoredJournal
from workers.jobs.provenance import provenance_of
from workers.jobs.scratch import ScratchFiles, job_folder
from workers.jobs.stages import Stage

LAYERS = "layers.png"
"""Name of the plot of all layers."""

_STAGES = {
    "reading the dataset": 2.0,
    "running the model": 58.0,
    "searching for formulas": 35.0,
    "writing the explanation": 5.0,
}
"""Stages of the job and their relative time."""


def explain(context: JobContext, specification: ExplanationJob) -> JobResult:
    """Explain units of a model and store the explanation.

    Raises:
        FaceterError: The model cannot be explained; the message says why.
    """
    began = time.monotonic()
    request, library = specification.request, context.library
    model = at_input_shapes(library.models.get(specification.model_id), request.input_shapes)
    dataset = library.datasets.get(request.dataset_id)
    content = library.blobs.read(model.sha256)
    stages = context.stages(_STAGES)
    stages.enter("reading the dataset")
    journal = _journal(context, request, model, dataset)
    with (
        open_dataset(library.blobs.path(dataset.sha256), dataset.kind, context.settings) as data,
        job_folder(context.settings, context.job_id) as folder,
        ScratchFiles(folder) as files,
    ):
        use_tokenizer_of(data, model, library.blobs.read, seconds=context.settings.inference_seconds)
        probe = build_probe_dataset(data, dataset.kind, model, request)
        request = with_default_quantile(request, probe)
        extractor = OnnxActivationExtractor(content, model.metadata, request.layers, _class_output(model))
        recorder = ActivationRecorder(extractor, probe, request, partial(select_units, request), files, journal)
        divided = DividedSamples(context.division, recorder, probe, extractor, files)
        recorded = divided.record(stages.enter("running the model"))
        patterns = recorded.table.patterns()
        search = FormulaSearch(patterns, request)
        searching = stages.enter("searching for formulas")
        counted = divided.count(recorded, request, searching.part(0.0, 0.5))
        results, count = [], len(recorded.layers)
        layers = searching if counted is None else searching.part(0.5, 1.0)
        for number, layer in enumerate(recorded.layers):
            progress = _layer_progress(layers.part(number / count, (number + 1) / count))
            firings = None if counted is None else partial(counted, layer)
            results.append(
                search_layer(recorded, layer, probe, search, extractor.device, files, journal, progress, firings)
            )
        settings = with_defaults(request, probe)
        require_firing_unit(request, results, probe.about)
        stages.enter("writing the explanation")
        classes = ClassStatistics.of(model, content, probe, recorded)
        builder = UnitRecordBuilder(data, probe, recorded, patterns, classes)
        units = [
            unit
            for layer, result in zip(recorded.layers, results, strict=True)
            for unit in builder.units(layer, result)
        ]
        masks = _masks(recorded, results, patterns, probe)
        blob = context.store_blob(encode_units(units))
        name = request.name or f"{', '.join(request.layers)[:80]} of {model.name[:50]}, {dataset.name[:50]}"
        summaries = [layer_summary(layer, units, probe.concepts) for layer in recorded.layers]
        return context.result(
            Explanation(
                id=context.new_id("exp"),
                name=name,
                created_at=utc_now(),
                sha256=blob.sha256,
                bytes=blob.bytes,
                model_id=model.id,
                model_sha256=model.sha256,
                dataset_sha256=dataset.sha256,
                settings=settings,
                about=probe.about,
                samples=len(probe),
                pixels=patterns.pixels,
                concepts=list_concepts(probe.concepts, patterns),
                concept_count=len(probe.concepts),
                patterns=len(patterns),
                layers=summaries,
                warnings=[*probe.warnings, *find_warnings(request, patterns, units)],
                seconds=round(time.monotonic() - began, 2),
                provenance=provenance_of(
                    settings.model_dump(mode="json"), {"model": model.sha256, "dataset": dataset.sha256}, request.seed
                ),
                files={
                    LAYERS: store_file(context, plot_layers(summaries, units, name), "image/png"),
                    MASKS: store_file(context, encode_masks(masks), "application/octet-stream"),
                },
            )
        )


def _layer_progress(stage: Stage) -> StepProgress:
    """Return the progress function of one layer."""
    return lambda step, fraction: stage(fraction, step)


def _masks(
    recorded: RecordedActivations, results: Sequence[LayerResult], patterns: Patterns, probe: ProbeDataset
) -> ExplanationMasks:
    grid = {"images": probe.grid, "signals": probe.grid[1:], "text": ()}[probe.about]
    pixels = int(np.prod(probe.grid))
    layers = []
    for layer, result in zip(recorded.layers, results, strict=True):
        vectors = [
            formula_vector(patterns, search.by_length[-1].formula) if search is not None and search.by_length else None
            for search in result.searches
        ]
        formulas = formula_masks(recorded, layer.strongest, vectors, pixels)
        layers.append(
            LayerMasks(
                fires=unpack_bits(result.samples, (len(probe),)),
                strongest=layer.strongest,
                unit_masks=unpack_bits(result.masks, grid),
                formula_masks=unpack_bits(formulas, grid),
            )
        )
    return ExplanationMasks(layers, probe.classes, recorded.predicted)


def _class_output(model: Model) -> str | None:
    """Return the name of the output with class scores; None if the model is no classifier."""
    return class_output(model.metadata, model.outputs).name if model.metadata.task.classifies else None


def _journal(context: JobContext, request: ExplanationRequest, model: Model, dataset: Dataset) -> StoredJournal:
    key = f"{request.model_dump_json()} {model.sha256} {model.metadata.model_dump_json()} {dataset.sha256}"
    return StoredJournal(
        context.load_checkpoint,
        context.save_checkpoint,
        context.settings.checkpoint_seconds,
        hashlib.sha256(key.encode()).hexdigest(),
    )
