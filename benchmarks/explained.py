"""Explanations of real models by real probe datasets, without a service."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import numpy as np

from benchmarks.fastestdet import DECODING
from benchmarks.graded_sets import model_of
from faceter.contracts.base import StoredRecord, utc_now
from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.explanations import Explanation, ExplanationRequest
from faceter.contracts.jobs import ExplanationJob, JobResult, Training
from faceter.contracts.models import Model, ModelMetadata, Task
from faceter.contracts.preprocessing import ChannelOrder, Preprocessing
from faceter.contracts.settings import Settings
from faceter.contracts.units import Unit
from faceter.datasets.kinds import open_dataset
from faceter.explanations.masks import MASKS, ExplanationMasks, read_masks
from faceter.explanations.units import read_units
from faceter.store.blobs import StoredBlob
from workers.explanation.activation_recorder import ActivationRecorder
from workers.explanation.activation_thresholds import activation_thresholds
from workers.explanation.activations import OnnxActivationExtractor
from workers.explanation.firing_counts import FiringCounts, count_firings
from workers.explanation.pipeline import explain
from workers.explanation.probe.build import build_probe_dataset
from workers.explanation.probe.dataset import Integers, ProbeDataset
from workers.explanation.recorded_activations import RecordedActivations
from workers.explanation.search.patterns import Floats, Patterns
from workers.jobs.context import JobContext
from workers.jobs.scratch import ScratchFiles

MIDDLE, LATE = "input.376", "input.504"
"""Layers of FastestDet: 96 units at 22 × 22 at the end of the third stage, 192 at 11 × 11 at the end of the fourth."""


@dataclass(frozen=True)
class ProbedModel:
    """A model and a probe dataset."""

    content: bytes
    """The model's file."""
    model: Model
    """Its record."""
    data: Path
    """The dataset's file."""
    kind: DatasetKind
    """Its kind."""


def fastestdet_on_camvid(data: Path) -> ProbedModel:
    """Return FastestDet and CamVid."""
    content = (data / "detection" / "fastestdet.onnx").read_bytes()
    metadata = ModelMetadata(
        task=Task.OBJECT_DETECTION,
        preprocessing=Preprocessing(size=[352, 352], channel_order=ChannelOrder.BGR),
        detection=DECODING,
    )
    return ProbedModel(content, model_of(content, metadata), data / "camvid" / "train.zip", DatasetKind.CONCEPTS)


def nli(data: Path) -> ProbedModel:
    """Return the NLI classifier and SNLI."""
    content = (data / "nli" / "snli_mlp.onnx").read_bytes()
    metadata = ModelMetadata(
        task=Task.TEXT_PAIR_CLASSIFICATION, labels=["entailment", "neutral", "contradiction"], output="logits"
    )
    return ProbedModel(content, model_of(content, metadata), data / "nli" / "snli.zip", DatasetKind.TEXT_PAIRS)


@dataclass(frozen=True)
class Counted:
    """Firing counts of one layer."""

    probe: ProbeDataset
    recorded: RecordedActivations
    patterns: Patterns
    counts: FiringCounts
    fires: Floats
    """u, float64 [U, P]."""


@contextmanager
def counted(subject: ProbedModel, request: ExplanationRequest) -> Iterator[Counted]:
    """Run a model on a dataset and count where the units of the one layer fire."""
    settings = Settings(_env_file=None)
    with (
        open_dataset(subject.data, subject.kind, settings) as data,
        tempfile.TemporaryDirectory() as folder,
        ScratchFiles(Path(folder)) as files,
    ):
        probe = build_probe_dataset(data, subject.kind, subject.model, request)
        extractor = OnnxActivationExtractor(subject.content, subject.model.metadata, request.layers, None)
        recorded = ActivationRecorder(extractor, probe, request, _all_units, files).record()
        (layer,) = recorded.layers
        thresholds = activation_thresholds(layer, request, about=probe.about)
        counts = count_firings(recorded, layer, thresholds, probe, extractor.device, files)
        yield Counted(probe, recorded, recorded.table.patterns(), counts, counts.pattern_counts.counts(0))


def _all_units(_: str, count: int) -> Integers:
    return np.arange(count)


class LocalContext(JobContext):
    """A job without a store: files lie in a folder, and the explanation is kept in memory."""

    def __init__(self, folder: Path, subject: ProbedModel) -> None:
        self.settings = Settings(_env_file=None, data_dir=folder)
        self.job_id = "job_local"
        self.folder = folder
        self.explanation: Explanation | None = None
        dataset = Dataset(
            id="dts_local", name="data", kind=subject.kind, created_at=utc_now(), sha256="1" * 64, bytes=1, samples=1
        )
        blobs = SimpleNamespace(
            read=lambda sha256: subject.content if sha256 == "0" * 64 else self.path(sha256).read_bytes(),
            path=lambda sha256: subject.data if sha256 == "1" * 64 else self.path(sha256),
        )
        self.library: Any = SimpleNamespace(
            models=SimpleNamespace(get=lambda _: subject.model),
            datasets=SimpleNamespace(get=lambda _: dataset),
            blobs=blobs,
        )

    def path(self, sha256: str) -> Path:
        """Return the path of a stored file."""
        return self.folder / sha256

    def progress(self, step: str, fraction: float, training: Training | None = None) -> None:
        """Do nothing."""

    def save_checkpoint(self, content: BinaryIO | bytes) -> None:
        """Do nothing."""

    def load_checkpoint(self) -> bytes | None:
        """Return None."""
        return None

    def store_blob(self, source: BinaryIO | bytes) -> StoredBlob:
        """Write a file to the folder."""
        content = source if isinstance(source, bytes) else source.read()
        sha256 = hashlib.sha256(content).hexdigest()
        self.path(sha256).write_bytes(content)
        return StoredBlob(sha256=sha256, bytes=len(content))

    def result(self, record: StoredRecord, *by_products: StoredRecord) -> JobResult:
        """Keep the explanation."""
        assert isinstance(record, Explanation)
        self.explanation = record
        return JobResult(resource="explanations", id=record.id)


@dataclass(frozen=True)
class Explained:
    """An explanation with its files."""

    explanation: Explanation
    """Its record."""
    units: list[Unit]
    """Its units."""
    masks: ExplanationMasks
    """Their masks."""
    files: dict[str, bytes]
    """Its further files."""


def explained(subject: ProbedModel, **options: object) -> Explained:
    """Explain a model."""
    with tempfile.TemporaryDirectory() as name:
        context = LocalContext(Path(name), subject)
        request = ExplanationRequest.model_validate({"dataset_id": "dts_local", **options})
        explain(context, ExplanationJob(model_id="mdl_local", request=request))
        explanation = context.explanation
        assert explanation is not None
        return Explained(
            explanation,
            read_units(context.path(explanation.sha256)),
            read_masks(context.path(explanation.files[MASKS].sha256)),
            {file: context.path(stored.sha256).read_bytes() for file, stored in explanation.files.items()},
        )
