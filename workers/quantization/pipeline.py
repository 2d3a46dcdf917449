"""A quantization job: from a stored model to a stored quantized model with its report."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol

import onnx

import faceter
from faceter.contracts.base import Provenance, utc_now
from faceter.contracts.datasets import Dataset
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.jobs import JobResult, QuantizationJob
from faceter.contracts.models import Model, ModelMetadata, TensorSpec
from faceter.contracts.quantizations import Latency, QuantizationReport, QuantizationRequest
from faceter.contracts.settings import Settings
from faceter.datasets.detection import DetectionDataset
from faceter.datasets.images import ImagesDataset
from faceter.datasets.kinds import open_dataset
from faceter.engines.base import LoadedModel
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.engines.saturation import sums_saturate
from faceter.graphs.canonical import canonicalize
from faceter.graphs.check import load_model
from faceter.graphs.describe import input_specs, is_quantized, output_specs, parameter_count
from faceter.graphs.fold import fold_batch_norms
from faceter.graphs.layouts import apply_layout
from faceter.graphs.packing import pack_weights
from faceter.graphs.qdq import write_qdq
from faceter.graphs.view import opset_of
from faceter.store.blobs import StoredBlob
from faceter.store.library import Library
from faceter.vision.metadata import class_output
from workers.host import compute_device, describe_device, processor_count, processor_name, torch_threads
from workers.quantization import layouts, report
from workers.quantization.data import (
    Comparison,
    PictureData,
    batch_size,
    calibration_batches,
    check_evaluation,
    noise_comparison,
    noise_in_memory,
    picture_comparison,
)
from workers.quantization.evaluation import compare
from workers.quantization.methods import methods
from workers.quantization.noise import Batch, noise_batches
from workers.quantization.prepared import Prepared
from workers.quantization.statistics import Source
from workers.quantization.timing import interleaved

_MEASURED_BATCH = 32
_VERSIONS = ("torch", "onnx", "onnxruntime", "numpy")
_BATCHES_FOR_NOISE = 2

Progress = Callable[[str, float], None]


class Context(Protocol):
    """What a quantization needs of its job; ``workers.progress.JobContext`` has it."""

    settings: Settings
    library: Library

    def new_id(self, prefix: str) -> str:
        """Return the id of what the job makes."""

    def progress(self, step: str, fraction: float) -> None:
        """Say how far the job is."""

    def store_blob(self, source: bytes) -> StoredBlob:
        """Keep a file the job made."""

    def add_model(self, model: Model) -> JobResult:
        """Hand over a model the job made."""


@dataclass(frozen=True)
class Quantized:
    """A quantized model and what is to be said about it.

    Args:
        content: The ONNX file: the plain layout, weights packed.
        report: How it was made, and what it lost.
        inputs: What it takes.
        outputs: What it gives.
        opset: Version of the standard operator set.
        parameters: Number of trained values.
    """

    content: bytes
    report: QuantizationReport
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    opset: int
    parameters: int


@dataclass(frozen=True)
class Data:
    """The data sets of a job, opened."""

    calibration: PictureData | None = None
    evaluation: PictureData | None = None
    records: dict[str, Dataset] = field(default_factory=dict)


def quantize_model(context: Context, specification: QuantizationJob) -> JobResult:
    """Quantize a model of the library and hand over the new one.

    Args:
        context: The job's.
        specification: Which model, and how.

    Raises:
        FaceterError: Whatever keeps the model from being quantized, in words to act on.
    """
    request = specification.request
    context.progress("reading the model", 0.01)
    model = context.library.models.get(specification.model_id)
    content = context.library.blobs.read(model.sha256)
    with _data(context, request) as data:
        made = quantize(content, model.metadata, request, data, context.settings, context.progress)
    context.progress("storing the quantized model", 0.98)
    blob = context.store_blob(made.content)
    inputs = {"model": model.sha256, **{role: record.sha256 for role, record in data.records.items()}}
    return context.add_model(
        Model(
            id=context.new_id("mdl"),
            name=request.name or _name(model.name, request),
            created_at=utc_now(),
            sha256=blob.sha256,
            bytes=blob.bytes,
            metadata=model.metadata,
            inputs=made.inputs,
            outputs=made.outputs,
            opset=made.opset,
            parameters=made.parameters,
            derived_from=model.id,
            quantization=made.report,
            provenance=provenance(request, inputs),
        )
    )


def quantize(
    content: bytes,
    metadata: ModelMetadata,
    request: QuantizationRequest,
    data: Data,
    settings: Settings,
    progress: Progress = lambda step, fraction: None,
) -> Quantized:
    """Quantize a model and report on it; nothing is stored.

    Args:
        content: The ONNX file.
        metadata: What was said about it.
        request: How to quantize.
        data: Data sets to calibrate and evaluate on.
        settings: Limits, and the threads that predictions are served with.
        progress: Told the step and the share of the whole done.

    Raises:
        FaceterError: ``ALREADY_QUANTIZED``, ``NOTHING_TO_QUANTIZE``, ``UNSUPPORTED_OPERATOR``, or that the data do
        not fit.
    """
    original = load_model(content, max_bytes=settings.max_model_bytes)
    if is_quantized(original):
        raise FaceterError(
            ProblemKind.ALREADY_QUANTIZED,
            "The model is already quantized. Quantize the float model it was made from.",
            field="model_id",
        )
    specs = input_specs(original)
    if data.evaluation is not None and "evaluation_dataset" in data.records:
        kind = data.records["evaluation_dataset"].kind
        check_evaluation(metadata, kind, data.evaluation, _classes(metadata, output_specs(original)))
    with torch_threads(1) if _one_by_one(specs, metadata) else nullcontext():
        progress("preparing the network and its data", 0.02)
        prepared = prepare(
            original,
            metadata,
            seed=request.seed,
            calibration=data.calibration,
            progress=_within(progress, "measuring activations", 0.05, 0.25),
        )
        progress(f"quantizing by {request.method.value}", 0.05)
        outcome = methods[request.method](prepared, request)
        tensors = report.tensor_reports(
            outcome.plan, prepared.batches[:_BATCHES_FOR_NOISE], _within(progress, "measuring each tensor", 0.3, 0.35)
        )
    progress("choosing the fastest layout", 0.35)
    plain = write_qdq(outcome.plan)
    packed = pack_weights(plain)
    made = packed.SerializeToString()
    engine = OnnxRuntimeEngine()
    single = _timed_batch(original, specs, metadata, request.seed, 1)
    served = layouts.choose(made, engine, single, threads=settings.inference_threads, saturates=sums_saturate(engine))
    before = engine.load(content, threads=processor_count())
    after = engine.load(made, threads=processor_count(), layout=served.layout)
    agreement, quality = compare(
        before,
        after,
        _comparison(original, specs, metadata, request, data),
        metadata,
        data.evaluation,
        _within(progress, "comparing with the original", 0.4, 0.9),
    )
    before.close()
    after.close()
    progress("measuring speed", 0.9)
    original_model = engine.load(content, threads=settings.inference_threads)
    latency = _latencies(original_model, served.loaded, original, specs, metadata, request.seed, settings)
    original_model.close()
    served.loaded.close()
    return Quantized(
        content=made,
        report=QuantizationReport(
            settings=request,
            tensors=tensors,
            float_layers=report.float_layers(outcome.plan),
            agreement=agreement,
            quality=quality,
            size=report.sizes(content, outcome.plan, packed, apply_layout(plain, served.layout)),
            energy=report.energy(original, outcome.plan),
            latency=latency,
            layouts=served.choices,
            notes=[*outcome.notes, *served.notes, *_slower(latency), *_notes(request, prepared, metadata, data)],
        ),
        inputs=specs,
        outputs=output_specs(packed),
        opset=opset_of(packed),
        parameters=parameter_count(packed),
    )


def prepare(
    original: onnx.ModelProto,
    metadata: ModelMetadata,
    *,
    seed: int,
    calibration: PictureData | None = None,
    progress: Callable[[float], None] = lambda _: None,
) -> Prepared:
    """Return a checked model ready for a method: canonical, BatchNorm folded, with calibration data or noise.

    Args:
        original: The model; it is not changed.
        metadata: What was said about it.
        seed: Chooses calibration pictures, or makes the noise.
        calibration: Data to measure activation ranges on.
        progress: Told the share of the measuring done.
    """
    specs = input_specs(original)
    folded = fold_batch_norms(canonicalize(original))
    if calibration is not None:
        batches = calibration_batches(calibration, metadata, specs, seed)
    else:
        batches = noise_in_memory(original, specs, metadata.preprocessing, seed)
    return Prepared(
        model=folded.model,
        statistics=folded.statistics,
        inputs=specs,
        preprocessing=metadata.preprocessing,
        batches=batches,
        source=Source.NOISE if calibration is None else Source.CALIBRATION,
        progress=progress,
    )


def provenance(request: QuantizationRequest, inputs: dict[str, str]) -> Provenance:
    """Return all that is needed to make the result again.

    Args:
        request: The request, defaults filled in.
        inputs: SHA-256 of each file, by role.
    """
    versions = {"faceter": faceter.__version__}
    versions |= {package: importlib.metadata.version(package) for package in _VERSIONS}
    return Provenance(
        inputs=inputs,
        settings=request.model_dump(mode="json"),
        seed=request.seed,
        versions=versions,
        device=describe_device(compute_device()),
        host=f"{processor_name()}, {processor_count()} cores",
    )


@contextmanager
def _data(context: Context, request: QuantizationRequest) -> Iterator[Data]:
    """Open the data sets a request names."""
    opened: dict[str, ImagesDataset | DetectionDataset] = {}
    records: dict[str, Dataset] = {}
    with ExitStack() as stack:
        for role in ("calibration_dataset", "evaluation_dataset"):
            dataset_id = getattr(request, role)
            if dataset_id is not None:
                record = context.library.datasets.get(dataset_id)
                path = context.library.blobs.path(record.sha256)
                dataset = open_dataset(path, record.kind, context.settings)
                stack.callback(dataset.close)
                opened[role] = dataset
                records[role] = record
        yield Data(opened.get("calibration_dataset"), opened.get("evaluation_dataset"), records)


def _comparison(
    original: onnx.ModelProto,
    specs: list[TensorSpec],
    metadata: ModelMetadata,
    request: QuantizationRequest,
    data: Data,
) -> Comparison:
    if data.evaluation is not None:
        return picture_comparison(data.evaluation, "evaluation", metadata, specs)
    if data.calibration is not None:
        return picture_comparison(data.calibration, "calibration", metadata, specs)
    return noise_comparison(original, specs, metadata.preprocessing, request.seed)


def _timed_batch(
    original: onnx.ModelProto, specs: list[TensorSpec], metadata: ModelMetadata, seed: int, size: int
) -> Batch:
    return next(noise_batches(original, specs, metadata.preprocessing, samples=size, batch=size, seed=seed))


def _latencies(
    before: LoadedModel,
    after: LoadedModel,
    original: onnx.ModelProto,
    specs: list[TensorSpec],
    metadata: ModelMetadata,
    seed: int,
    settings: Settings,
) -> list[Latency]:
    fixed_size, fixed = batch_size(specs, metadata.preprocessing)
    measured = []
    for size in [fixed_size] if fixed else [1, _MEASURED_BATCH]:
        batch = _timed_batch(original, specs, metadata, seed, size)
        (before_ms, after_ms), runs = interleaved([before, after], batch)
        measured.append(
            Latency(batch=size, before_ms=before_ms, after_ms=after_ms, threads=settings.inference_threads, runs=runs)
        )
    return measured


def _notes(request: QuantizationRequest, prepared: Prepared, metadata: ModelMetadata, data: Data) -> list[str]:
    notes = [
        f"Weights of every layer, the first and the last included, have {request.weight_bits} bits; activations that "
        f"enter a layer and residual sums have {request.activation_bits}; the network's input, summands and outputs "
        "have 8.",
        f"Signal-to-noise of activations was measured on {prepared.source.value}.",
    ]
    if data.evaluation is None and data.calibration is None:
        notes.append(
            "No data were given: agreement was measured on seeded noise, on which networks are less sure of their "
            "answers than on real inputs."
        )
    if data.evaluation is not None and not _graded(metadata, data.evaluation):
        notes.append("No score was measured on the evaluation data: the model's task or metadata do not say how.")
    return notes


def _slower(latency: list[Latency]) -> list[str]:
    return [
        f"On this host the quantized model is slower than the original at batch {item.batch}: {item.after_ms:.2f} ms a "
        f"call against {item.before_ms:.2f} ms. Its layers may be too small to make up for quantizing between them."
        for item in latency
        if item.after_ms > item.before_ms
    ]


def _graded(metadata: ModelMetadata, data: PictureData) -> bool:
    return data.picture_labels(metadata.labels) is not None or metadata.detection is not None


def _one_by_one(specs: list[TensorSpec], metadata: ModelMetadata) -> bool:
    return batch_size(specs, metadata.preprocessing) == (1, True)


def _classes(metadata: ModelMetadata, outputs: list[TensorSpec]) -> int | None:
    shape = class_output(metadata, outputs).shape
    return shape[-1] if len(shape) > 1 and isinstance(shape[-1], int) else None


def _within(progress: Progress, step: str, start: float, end: float) -> Callable[[float], None]:
    return lambda share: progress(step, start + share * (end - start))


def _name(model_name: str, request: QuantizationRequest) -> str:
    return f"{model_name[:180]}-{request.method.value}-w{request.weight_bits}a{request.activation_bits}"
