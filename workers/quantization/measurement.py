"""Measuring a quantized model as it is served: what it is compared on, and how fast it is."""

from __future__ import annotations

import onnx

from faceter.contracts.models import ModelMetadata, TensorSpec
from faceter.contracts.quantizations import Latency, QuantizationRequest
from faceter.contracts.settings import Settings
from faceter.engines.base import LoadedModel
from workers.model_input import Batch
from workers.quantization.data import (
    Comparison,
    Data,
    batch_size,
    data_comparison,
    held_out_comparison,
    noise_comparison,
)
from workers.quantization.noise import noise_batches
from workers.quantization.timing import interleaved
from workers.quantization.tuned import TunedOutcome

_MEASURED_BATCH = 32


def comparison(
    original: onnx.ModelProto,
    specs: list[TensorSpec],
    metadata: ModelMetadata,
    request: QuantizationRequest,
    data: Data,
    made: TunedOutcome,
) -> Comparison:
    """Return what two models are compared on: evaluation data, held-out inputs, calibration data, or noise."""
    if data.evaluation is not None:
        return data_comparison(data.evaluation, "evaluation", metadata, specs)
    if made.held_out is not None:
        return held_out_comparison(
            made.held_out, "calibration" if made.synthetic is None else "synthetic", metadata, specs
        )
    if data.calibration is not None:
        return data_comparison(data.calibration, "calibration", metadata, specs)
    return noise_comparison(original, specs, metadata.preprocessing, request.seed)


def timed_batch(
    original: onnx.ModelProto, specs: list[TensorSpec], metadata: ModelMetadata, seed: int, size: int
) -> Batch:
    """Return one batch of noise to time a model on."""
    return next(noise_batches(original, specs, metadata.preprocessing, samples=size, batch=size, seed=seed))


def latencies(
    before: LoadedModel,
    after: LoadedModel,
    original: onnx.ModelProto,
    specs: list[TensorSpec],
    metadata: ModelMetadata,
    seed: int,
    settings: Settings,
) -> list[Latency]:
    """Time both models, call by call in turn, at batch 1 and 32 or the one batch they take."""
    fixed_size, fixed = batch_size(specs, metadata.preprocessing)
    measured = []
    for size in [fixed_size] if fixed else [1, _MEASURED_BATCH]:
        batch = timed_batch(original, specs, metadata, seed, size)
        (before_ms, after_ms), runs = interleaved([before, after], batch)
        measured.append(
            Latency(batch=size, before_ms=before_ms, after_ms=after_ms, threads=settings.inference_threads, runs=runs)
        )
    return measured


def slower(latency: list[Latency]) -> list[str]:
    """Say at which batches the quantized model is no faster."""
    return [
        f"On this host the quantized model is slower than the original at batch {item.batch}: {item.after_ms:.2f} ms a "
        f"call against {item.before_ms:.2f} ms. Its layers may be too small to make up for quantizing between them."
        for item in latency
        if item.after_ms > item.before_ms
    ]
