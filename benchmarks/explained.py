"""Real models, datasets with concepts, and explanations of the one by the other without a service."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.fastestdet import DECODING
from benchmarks.graded_sets import model_of
from faceter.contracts.base import utc_now
from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.explanations import Explanation, ExplanationRequest, Unit
from faceter.contracts.jobs import ExplanationJob, JobResult, Training
from faceter.contracts.models import ChannelOrder, Model, ModelMetadata, Preprocessing, Task
from faceter.contracts.settings import Settings
from faceter.datasets.kinds import open_dataset
from faceter.explanations.masks import MASKS, Masks, read_masks
from faceter.explanations.units import read_units
from faceter.store.blobs import StoredBlob
from workers.explanation.counting import Counts, layer_thresholds, second_pass
from workers.explanation.first_pass import FirstPass, FirstPassJob
from workers.explanation.kinds import samples_of
from workers.explanation.patterns import Floats, Patterns
from workers.explanation.pipeline import explain
from workers.explanation.samples import Integers, Samples
from workers.explanation.stream import Network
from workers.jobs.scratch import ScratchFiles

MIDDLE, LATE = "input.376", "input.504"
"""Layers of FastestDet: 96 units at 22 × 22 at the end of the third stage, 192 at 11 × 11 at the end of the fourth."""


@dataclass(frozen=True)
class Subject:
    """A model and a dataset."""

    content: bytes
    """The model's file."""
    model: Model
    """Its record."""
    data: Path
    """The dataset's file."""
    kind: DatasetKind
    """What it holds."""


def fastestdet_on_camvid(data: Path) -> Subject:
    """Return the detector and the street scenes."""
    content = (data / "detection" / "fastestdet.onnx").read_bytes()
    metadata = ModelMetadata(
        task=Task.OBJECT_DETECTION,
        preprocessing=Preprocessing(size=[352, 352], channel_order=ChannelOrder.BGR),
        detection=DECODING,
    )
    return Subject(content, model_of(content, metadata), data / "camvid" / "train.zip", DatasetKind.CONCEPTS)


def nli(data: Path) -> Subject:
    """Return the classifier of sentence pairs and the pairs."""
    content = (data / "nli" / "snli_mlp.onnx").read_bytes()
    metadata = ModelMetadata(
        task=Task.TEXT_PAIR_CLASSIFICATION, labels=["entailment", "neutral", "contradiction"], output="logits"
    )
    return Subject(content, model_of(content, metadata), data / "nli" / "snli.zip", DatasetKind.TEXT_PAIRS)


@dataclass(frozen=True)
class Counted:
    """One layer up to where the search begins."""

    samples: Samples
    first: FirstPass
    patterns: Patterns
    counts: Counts
    fires: Floats
    """u, float64 [U, P]."""


@contextmanager
def counted(subject: Subject, request: ExplanationRequest) -> Iterator[Counted]:
    """Run a model over a dataset and count where all units of the one layer fire."""
    settings = Settings(_env_file=None)
    with (
        open_dataset(subject.data, subject.kind, settings) as data,
        tempfile.TemporaryDirectory() as folder,
        ScratchFiles(Path(folder)) as files,
    ):
        samples = samples_of(data, subject.kind, subject.model, request)
        network = Network(subject.content, request.layers, subject.model.inputs, None)
        first = FirstPassJob(network, samples, request, _all, files).run()
        (layer,) = first.layers
        over = layer_thresholds(layer, request, about=samples.about)
        counts = second_pass(first, layer, over, samples, network.device, files)
        yield Counted(samples, first, first.table.patterns(), counts, counts.buckets.counts(0))


def _all(_: str, count: int) -> Integers:
    return np.arange(count)


class LocalContext:
    """A job without a queue: files lie in a folder, and records are kept in memory.

    Args:
        folder: Where everything lies.
        subject: A model and a dataset.
    """

    job_id = "job_local"

    def __init__(self, folder: Path, subject: Subject) -> None:
        self.settings = Settings(_env_file=None, data_dir=folder)
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
        """Return where a file lies."""
        return self.folder / sha256

    def new_id(self, prefix: str) -> str:
        """Return an id."""
        return f"{prefix}_local"

    def progress(self, step: str, fraction: float, training: Training | None = None) -> None:
        """Say nothing."""

    def save_checkpoint(self, content: bytes) -> None:
        """Keep nothing."""

    def load_checkpoint(self) -> bytes | None:
        """Return nothing."""
        return None

    def store_blob(self, source: bytes) -> StoredBlob:
        """Write a file."""
        sha256 = hashlib.sha256(source).hexdigest()
        self.path(sha256).write_bytes(source)
        return StoredBlob(sha256=sha256, bytes=len(source))

    def add_explanation(self, explanation: Explanation) -> JobResult:
        """Keep it."""
        self.explanation = explanation
        return JobResult(explanation_id=explanation.id, url="")

    def add_analysis(self, analysis: object) -> JobResult:
        """Do nothing."""
        raise NotImplementedError


@dataclass(frozen=True)
class Explained:
    """An explanation that was made without a service."""

    explanation: Explanation
    """Its record."""
    units: list[Unit]
    """Its units."""
    masks: Masks
    """Where they fire."""
    files: dict[str, bytes]
    """Its further files."""


def explained(subject: Subject, **said: object) -> Explained:
    """Explain a model without a service."""
    with tempfile.TemporaryDirectory() as name:
        context = LocalContext(Path(name), subject)
        request = ExplanationRequest.model_validate({"dataset_id": "dts_local", **said})
        explain(context, ExplanationJob(model_id="mdl_local", request=request))
        found = context.explanation
        assert found is not None
        return Explained(
            found,
            read_units(context.path(found.sha256)),
            read_masks(context.path(found.files[MASKS].sha256)),
            {file: context.path(stored.sha256).read_bytes() for file, stored in found.files.items()},
        )
