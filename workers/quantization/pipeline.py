"""A quantization job: prepare, optimize, export, measure, report."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

from faceter.contracts.base import StoredFile, utc_now
from faceter.contracts.jobs import JobResult, QuantizationJob
from faceter.contracts.models import Model, ModelMetadata, TensorSpec
from faceter.contracts.quantizations import QuantizationReport, QuantizationRequest
from faceter.contracts.settings import Settings
from faceter.graphs.describe import input_specs, output_specs
from faceter.text.tokenizer import TOKENIZER
from workers.files import store_file
from workers.host import torch_threads
from workers.jobs.context import JobContext
from workers.jobs.provenance import provenance_of
from workers.jobs.stages import SILENT, Stage
from workers.quantization.calibration_inputs import batch_size
from workers.quantization.datasets import JobDatasets, open_datasets, validate_evaluation_dataset
from workers.quantization.export import ExportedModel, export
from workers.quantization.measure import MEASURE_SECONDS, measure
from workers.quantization.mixed.allocation import with_target_bits
from workers.quantization.optimize import optimize, optimize_seconds
from workers.quantization.optimized import OptimizedNetwork
from workers.quantization.prepare import load_float_model, prepare, run_shapes, sized_metadata
from workers.quantization.report import build_report
from workers.quantization.report_files import report_files
from workers.quantization.synthetic_dataset import synthetic_dataset, with_dataset
from workers.quantization.tuning_budget import with_default_budget
from workers.training.callbacks import Callbacks, JobCallbacks

_READ_SECONDS = 1.0
_PREPARE_SECONDS = 2.0
_STORE_SECONDS = 2.0


@dataclass(frozen=True)
class QuantizedModel:
    """A quantized model with its report.

    Args:
        inputs: Those of the float model.
    """

    exported: ExportedModel
    optimized: OptimizedNetwork
    report: QuantizationReport
    inputs: list[TensorSpec]


def quantize_model(context: JobContext, specification: QuantizationJob) -> JobResult:
    """Quantize a model of the library and store the new one.

    Raises:
        FaceterError: If the model cannot be quantized as requested.
    """
    request = with_default_budget(specification.request)
    quantize_seconds = _PREPARE_SECONDS + optimize_seconds(request) + MEASURE_SECONDS
    stages = context.stages(
        {
            "reading the model": _READ_SECONDS,
            "quantizing": quantize_seconds,
            "storing the quantized model": _STORE_SECONDS,
        }
    )

    stages.enter("reading the model")
    model = context.library.models.get(specification.model_id)
    content = context.library.blobs.read(model.sha256)

    stage = stages.enter("quantizing")
    with open_datasets(context.library, request, context.settings, model) as datasets:
        quantized = quantize(
            content,
            model.metadata,
            request,
            datasets,
            context.settings,
            stage,
            lambda tuning: JobCallbacks(context, tuning, resume=request.resume),
        )

    stages.enter("storing the quantized model")
    return _store(context, model, request, datasets, quantized)


def quantize(
    content: bytes,
    metadata: ModelMetadata,
    request: QuantizationRequest,
    datasets: JobDatasets,
    settings: Settings,
    progress: Stage = SILENT,
    callbacks: Callable[[Stage], Callbacks] = lambda stage: Callbacks(),
) -> QuantizedModel:
    """Quantize a model and report on it; nothing is stored.

    Args:
        content: The ONNX file.
        settings: Limits, and the threads that predictions are served with.
        callbacks: Returns the callbacks of tuning, given the stage that takes its progress.

    Raises:
        FaceterError: ``ALREADY_QUANTIZED``, ``NOTHING_TO_QUANTIZE``, ``UNSUPPORTED_OPERATOR``, that a dataset or the
            method does not fit the model, or that tuning failed.
    """
    request = with_target_bits(request)
    original = load_float_model(content, metadata, settings.max_model_bytes)
    metadata = sized_metadata(original, metadata, request, datasets)
    validate_evaluation_dataset(datasets, metadata, output_specs(original.model))
    stages = progress.stages(
        {
            "preparing the network and its data": _PREPARE_SECONDS,
            f"quantizing by {request.method.value}": optimize_seconds(request),
            "measuring": MEASURE_SECONDS,
        }
    )

    stages.enter("preparing the network and its data")
    shapes = run_shapes(original, metadata)
    prepared = prepare(original.model, metadata, seed=request.seed, calibration=datasets.calibration, shapes=shapes)

    # A model of fixed batch size 1 runs one input at a time, where more than one thread is slower.
    single = batch_size(prepared.inputs) == (1, True)
    with torch_threads(1) if single else nullcontext():
        stage, began = stages.enter(f"quantizing by {request.method.value}"), time.perf_counter()
        optimized = optimize(prepared, request, datasets, stage, callbacks)
        exported = export(optimized.plan)
        seconds = time.perf_counter() - began
        stage = stages.enter("measuring")
        measured = measure(
            original, prepared, optimized, exported, datasets, request.seed, settings, stage, work_seconds=seconds
        )

    report = build_report(request, original, prepared, optimized, exported, measured, datasets, shapes)
    whole = exported.with_ends(original.tail, original.signature)
    return QuantizedModel(whole, optimized, report, input_specs(whole.packed))


def _store(
    context: JobContext,
    model: Model,
    request: QuantizationRequest,
    datasets: JobDatasets,
    quantized: QuantizedModel,
) -> JobResult:
    """Store a quantized model, its files and its dataset of synthetic inputs."""
    exported, optimized = quantized.exported, quantized.optimized
    blob = context.store_blob(exported.content)
    inputs = {"model": model.sha256, **{role: record.sha256 for role, record in datasets.records.items()}}
    provenance = provenance_of(request.model_dump(mode="json"), inputs, request.seed)
    dataset = synthetic_dataset(context, model, optimized, provenance)
    record = Model(
        id=context.new_id("mdl"),
        name=request.name or _name(model.name, request),
        created_at=utc_now(),
        sha256=blob.sha256,
        bytes=blob.bytes,
        metadata=model.metadata.model_copy(update={"constant_inputs": None}),
        metadata_sources=model.metadata_sources,
        inputs=quantized.inputs,
        outputs=exported.outputs,
        opset=exported.opset,
        parameters=exported.parameters,
        derived_from_id=model.id,
        quantization=with_dataset(quantized.report, dataset),
        provenance=provenance,
        files=report_files(context, quantized.report, optimized.curves) | _tokenizer(context, model),
    )
    return context.result(record, *([] if dataset is None else [dataset]))


def _tokenizer(context: JobContext, model: Model) -> dict[str, StoredFile]:
    """Return the tokenizer of a text model, which the quantized one needs as well."""
    file = model.files.get(TOKENIZER)
    if file is None:
        return {}
    return {TOKENIZER: store_file(context, context.library.blobs.read(file.sha256), file.media_type)}


def _name(model_name: str, request: QuantizationRequest) -> str:
    bits = "mixed" if request.target is not None else f"w{request.weight_bits}a{request.activation_bits}"
    return f"{model_name[:180]}-{request.method.value}-{bits}"
