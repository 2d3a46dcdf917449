"""Latency of the float and the quantized model, measured in turns."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from faceter.contracts.models import ModelMetadata, TensorSpec
from faceter.contracts.quantizations import Latency
from faceter.engines.base import LoadedModel
from workers.model_input import Batch
from workers.quantization.calibration_inputs import batch_size
from workers.quantization.noise import noise_batches
from workers.quantization.timing import interleaved

_BATCH = 32


def noise_batch(
    original: onnx.ModelProto, specs: Sequence[TensorSpec], metadata: ModelMetadata, seed: int, size: int
) -> Batch:
    """Return one batch of noise to time a model on."""
    return next(noise_batches(original, specs, metadata.preprocessing, samples=size, batch=size, seed=seed))


def measure_latency(
    before: LoadedModel,
    after: LoadedModel,
    original: onnx.ModelProto,
    specs: Sequence[TensorSpec],
    metadata: ModelMetadata,
    seed: int,
    threads: int,
) -> list[Latency]:
    """Measure both models, call by call in turn, at batch sizes 1 and 32 or the one they fix.

    Args:
        threads: Threads that the models were loaded with, for the report.
    """
    fixed_size, fixed = batch_size(specs)
    measured = []
    for size in [fixed_size] if fixed else [1, _BATCH]:
        batch = noise_batch(original, specs, metadata, seed, size)
        (before_ms, after_ms), runs = interleaved([before, after], batch)
        measured.append(Latency(batch=size, before_ms=before_ms, after_ms=after_ms, threads=threads, runs=runs))
    return measured


def latency_warnings(latency: Sequence[Latency]) -> list[str]:
    """Name the batch sizes at which the quantized model is slower."""
    return [
        f"On this host the quantized model is slower than the original at batch {item.batch}: {item.after_ms:.2f} ms a "
        f"call against {item.before_ms:.2f} ms. Its layers may be too small to make up for quantizing between them."
        for item in latency
        if item.after_ms > item.before_ms
    ]
