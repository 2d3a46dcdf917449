"""A quantization job: from a stored model to a stored quantized model with its report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass

import onnx

from faceter.contracts.base import utc_now
from faceter.contracts.datasets import Dataset
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.jobs import JobResult, QuantizationJob
from faceter.contracts.models import Model, ModelMetadata, TensorSpec
from faceter.contracts.quantizations import (
    Agreement,
    QuantizationMethod,
    QuantizationReport,
    QuantizationRequest,
    TradeOff,
)
from faceter.contracts.settings import Settings
from faceter.datasets.kinds import InputDataset, open_inputs
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
from faceter.vision.metadata import class_output
from workers.host import processor_count, torch_threads
from workers.jobs.provenance import provenance_of
from workers.quantization import layouts, report
from workers.quantization.artifacts import report_files, synthetic_dataset, with_dataset
from workers.quantization.context import Context, JobHooks
from workers.quantization.data import (
    Data,
    batch_size,
    calibration_batches,
    check_evaluation,
    noise_in_memory,
    tuning_inputs,
)
from workers.quantization.evaluation import compare
from workers.quantization.measurement import comparison, latencies, slower, timed_batch
from workers.quantization.methods import methods, tuned_methods
from workers.quantization.mixed.grading import grade_of
from workers.quantization.prepared import Prepared
from workers.quantization.probe import accuracy_probe
from workers.quantization.scaling import evenly_scaled
from workers.quantization.statistics import Source
from workers.quantization.target import reach, settled, settled_bits, target_notes
from workers.quantization.tuned import TunedOutcome, default_minutes, tune, untuned
from workers.quantization.tuning.inputs import searchable
from workers.quantization.tuning.loop import Hooks, NoHooks
from workers.quantization.tuning.method import TunedMethod

_BATCHES_FOR_NOISE = 2

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Quantized:
    """A quantized model and what is to be said about it.

    Args:
        content: The ONNX file: the plain layout, weights packed.
        report: How it was made, and what it lost.
        made: What a tuned method made on the way.
        inputs: What it takes.
        outputs: What it gives.
        opset: Version of the standard operator set.
        parameters: Number of trained values.
    """

    content: bytes
    report: QuantizationReport
    made: TunedOutcome
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    opset: int
    parameters: int


def quantize_model(context: Context, specification: QuantizationJob) -> JobResult:
    """Quantize a model of the library and hand over the new one.

    Args:
        context: The job's.
        specification: Which model, and how.

    Raises:
        FaceterError: Whatever keeps the model from being quantized, in words to act on.
    """
    request = with_budget(specification.request)
    context.progress("reading the model", 0.01)
    model = context.library.models.get(specification.model_id)
    content = context.library.blobs.read(model.sha256)
    hooks = JobHooks(context, resume=request.resume)
    with _data(context, request) as data:
        made = quantize(content, model.metadata, request, data, context.settings, context.progress, hooks)
    context.progress("storing the quantized model", 0.98)
    blob = context.store_blob(made.content)
    inputs = {"model": model.sha256, **{role: record.sha256 for role, record in data.records.items()}}
    origin = provenance_of(request.model_dump(mode="json"), inputs, request.seed)
    dataset = synthetic_dataset(context, model, made.made, origin)
    if dataset is not None:
        context.add_dataset(dataset)
    result = context.add_model(
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
            derived_from_id=model.id,
            quantization=with_dataset(made.report, dataset),
            provenance=origin,
            files=report_files(context, made.report, made.made),
        )
    )
    return result if dataset is None else result.model_copy(update={"dataset_id": dataset.id})


def quantize(
    content: bytes,
    metadata: ModelMetadata,
    request: QuantizationRequest,
    data: Data,
    settings: Settings,
    progress: Progress = lambda step, fraction: None,
    hooks: Hooks | None = None,
) -> Quantized:
    """Quantize a model and report on it; nothing is stored.

    Args:
        content: The ONNX file.
        metadata: What was said about it.
        request: How to quantize.
        data: Datasets to calibrate and evaluate on.
        settings: Limits, and the threads that predictions are served with.
        progress: Told the step and the share of the whole done.
        hooks: The job's, for a tuned method.

    Raises:
        FaceterError: ``ALREADY_QUANTIZED``, ``NOTHING_TO_QUANTIZE``, ``UNSUPPORTED_OPERATOR``, that the data or the
        method do not fit, or that tuning failed.
    """
    request = settled_bits(request)
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
        made = _carried_out(prepared, request, data, hooks or NoHooks())
        outcome = made.outcome
        tensors = report.tensor_reports(
            outcome.plan, prepared.batches[:_BATCHES_FOR_NOISE], _within(progress, "measuring each tensor", 0.3, 0.35)
        )
    progress("choosing the fastest layout", 0.35)
    plain = write_qdq(outcome.plan)
    packed = pack_weights(plain)
    content_made = packed.SerializeToString()
    engine = OnnxRuntimeEngine()
    single = timed_batch(original, specs, metadata, request.seed, 1)
    served = layouts.choose(
        content_made, engine, single, threads=settings.inference_threads, saturates=sums_saturate(engine)
    )
    before = engine.load(content, threads=processor_count())
    after = engine.load(content_made, threads=processor_count(), layout=served.layout)
    agreement, quality = compare(
        before,
        after,
        comparison(original, specs, metadata, request, data, made),
        metadata,
        data.evaluation,
        _within(progress, "comparing with the original", 0.4, 0.9),
    )
    before.close()
    after.close()
    progress("measuring speed", 0.9)
    original_model = engine.load(content, threads=settings.inference_threads)
    latency = latencies(original_model, served.loaded, original, specs, metadata, request.seed, settings)
    original_model.close()
    served.loaded.close()
    size = report.sizes(content, outcome.plan, packed, apply_layout(plain, served.layout))
    trade_off = None
    if made.reached is not None and request.target is not None:
        trade_off = settled(made.reached, request.target, grade_of(agreement, quality), size)
    return Quantized(
        content=content_made,
        report=QuantizationReport(
            settings=request,
            tensors=tensors,
            float_layers=report.float_layers(outcome.plan),
            agreement=agreement,
            quality=quality,
            size=size,
            energy=report.energy(original, outcome.plan),
            latency=latency,
            layouts=served.choices,
            tuning=made.tuning,
            trade_off=trade_off,
            warnings=[
                *target_notes(request.target, trade_off, size),
                *outcome.notes,
                *served.notes,
                *slower(latency),
                *_notes(request, prepared, metadata, data, agreement, trade_off),
            ],
        ),
        made=made,
        inputs=specs,
        outputs=output_specs(packed),
        opset=opset_of(packed),
        parameters=parameter_count(packed),
    )


def with_budget(request: QuantizationRequest) -> QuantizationRequest:
    """Return a request with its budget filled in."""
    if not request.method.tuned or request.max_steps is not None or request.max_minutes is not None:
        return request
    return request.model_copy(update={"max_minutes": default_minutes(request)})


def _carried_out(prepared: Prepared, request: QuantizationRequest, data: Data, hooks: Hooks) -> TunedOutcome:
    """Return what the method makes of the network."""
    if request.method in methods:
        return TunedOutcome(methods[request.method](prepared, request))
    method = tuned_methods[request.method]
    prepared, notes = evenly_scaled(prepared, request, method.start) if method.equalizes else (prepared, [])
    return _tuned(method, prepared, request, data, hooks).noted(notes)


def _tuned(
    method: TunedMethod, prepared: Prepared, request: QuantizationRequest, data: Data, hooks: Hooks
) -> TunedOutcome:
    if request.target is not None:
        return reach(method, prepared, request, request.target, data, hooks, accuracy_probe(data.evaluation, prepared))
    if request.method is QuantizationMethod.AUTO and not searchable(prepared):
        reason = "Nothing was tuned: that takes a single input and an output of float values. The network was rounded."
        return untuned(method.start(prepared, request), reason)
    return tune(method, prepared, request, hooks, accuracy_probe(data.evaluation, prepared))


def prepare(
    original: onnx.ModelProto,
    metadata: ModelMetadata,
    *,
    seed: int,
    calibration: InputDataset | None = None,
    progress: Callable[[float], None] = lambda _: None,
) -> Prepared:
    """Return a checked model ready for a method: canonical, BatchNorm folded, with calibration data or noise.

    Args:
        original: The model; it is not changed.
        metadata: What was said about it.
        seed: Chooses calibration images, or makes the noise.
        calibration: Data to measure activation ranges on.
        progress: Told the share of the measuring done.
    """
    specs = input_specs(original)
    canonical = canonicalize(original)
    folded = fold_batch_norms(canonical)
    if calibration is not None:
        batches = calibration_batches(calibration, metadata, specs, seed)
    else:
        batches = noise_in_memory(original, specs, metadata.preprocessing, seed)
    return Prepared(
        original=canonical,
        model=folded.model,
        statistics=folded.statistics,
        inputs=specs,
        metadata=metadata,
        batches=batches,
        source=Source.NOISE if calibration is None else Source.CALIBRATION,
        progress=progress,
        tuning_inputs=lambda: tuning_inputs(calibration, metadata, specs, seed),
    )


@contextmanager
def _data(context: Context, request: QuantizationRequest) -> Iterator[Data]:
    """Open the datasets a request names."""
    opened: dict[str, InputDataset] = {}
    records: dict[str, Dataset] = {}
    with ExitStack() as stack:
        for role in ("calibration_dataset", "evaluation_dataset"):
            dataset_id = getattr(request, role)
            if dataset_id is not None:
                record = context.library.datasets.get(dataset_id)
                path = context.library.blobs.path(record.sha256)
                dataset = open_inputs(path, record.kind, context.settings)
                stack.callback(dataset.close)
                opened[role] = dataset
                records[role] = record
        yield Data(opened.get("calibration_dataset"), opened.get("evaluation_dataset"), records)


def _notes(
    request: QuantizationRequest,
    prepared: Prepared,
    metadata: ModelMetadata,
    data: Data,
    agreement: Agreement,
    trade_off: TradeOff | None,
) -> list[str]:
    bits = [request.weight_bits] if trade_off is None else trade_off.points[trade_off.chosen].bits.values()
    each = f"{min(bits)} bits" if min(bits) == max(bits) else f"from {min(bits)} to {max(bits)} bits each"
    notes = [
        f"Weights of every layer, the first and the last included, have {each}; activations that enter a layer and "
        f"residual sums have {request.activation_bits}; the network's input, summands and outputs have 8.",
        f"Signal-to-noise of activations was measured on {prepared.source.value}.",
    ]
    if agreement.source == "noise":
        notes.append(
            "No data were given: agreement was measured on seeded noise, on which networks are less sure of their "
            "answers than on real inputs."
        )
    if data.evaluation is not None and not _graded(metadata, data.evaluation):
        notes.append("No score was measured on the evaluation data: the model's task or metadata do not say how.")
    return notes


def _graded(metadata: ModelMetadata, data: InputDataset) -> bool:
    return data.sample_labels(metadata.labels) is not None or metadata.detection is not None


def _one_by_one(specs: list[TensorSpec], metadata: ModelMetadata) -> bool:
    return batch_size(specs, metadata.preprocessing) == (1, True)


def _classes(metadata: ModelMetadata, outputs: list[TensorSpec]) -> int | None:
    shape = class_output(metadata, outputs).shape
    return shape[-1] if len(shape) > 1 and isinstance(shape[-1], int) else None


def _within(progress: Progress, step: str, start: float, end: float) -> Callable[[float], None]:
    return lambda share: progress(step, start + share * (end - start))


def _name(model_name: str, request: QuantizationRequest) -> str:
    bits = "mixed" if request.target is not None else f"w{request.weight_bits}a{request.activation_bits}"
    return f"{model_name[:180]}-{request.method.value}-{bits}"
