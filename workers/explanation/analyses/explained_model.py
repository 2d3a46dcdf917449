"""Units of another model, explained as an explanation was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from faceter.contracts.datasets import DatasetKind
from faceter.contracts.explanations import ExplanationRequest
from faceter.contracts.models import Model
from faceter.contracts.units import Unit
from faceter.datasets.reader import DatasetReader
from workers.explanation.activation_recorder import ActivationRecorder
from workers.explanation.activations import OnnxActivationExtractor
from workers.explanation.layer_search import LayerResult, search_layer
from workers.explanation.probe.build import build_probe_dataset
from workers.explanation.probe.dataset import ProbeDataset
from workers.explanation.recorded_activations import RecordedActivations
from workers.explanation.request_settings import select_units
from workers.explanation.search.formula_search import FormulaSearch
from workers.explanation.unit_records import UnitRecordBuilder
from workers.jobs.journal import NoJournal
from workers.jobs.scratch import ScratchFiles

_RECORDING = 0.7
"""Expected fraction of the time for running the model."""


@dataclass(frozen=True)
class ExplainedModel:
    """A model with its activations and units."""

    probe: ProbeDataset
    recorded: RecordedActivations
    results: list[LayerResult]
    units: list[Unit]


def explain_model(
    content: bytes,
    model: Model,
    data: DatasetReader,
    kind: DatasetKind,
    request: ExplanationRequest,
    files: ScratchFiles,
    progress: Callable[[float], None],
) -> ExplainedModel:
    """Run a model on a dataset and search for formulas.

    Args:
        content: The ONNX file.
        model: Its record.
        data: The dataset.
        kind: Its kind.
        request: Settings of the explanation.
        files: Where activations are written.
        progress: Called with the fraction done.
    """
    probe = build_probe_dataset(data, kind, model, request)
    extractor = OnnxActivationExtractor(content, model.metadata, request.layers, None)
    recorder = ActivationRecorder(extractor, probe, request, partial(select_units, request), files)
    recorded = recorder.record(lambda fraction: progress(_RECORDING * fraction))
    patterns = recorded.table.patterns()
    search = FormulaSearch(patterns, request)
    results = [
        search_layer(recorded, layer, probe, search, extractor.device, files, NoJournal()) for layer in recorded.layers
    ]
    builder = UnitRecordBuilder(data, probe, recorded, patterns, None)
    units = [
        unit for layer, result in zip(recorded.layers, results, strict=True) for unit in builder.units(layer, result)
    ]
    return ExplainedModel(probe, recorded, results, units)
