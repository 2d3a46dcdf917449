"""Latency of the float and the quantized model, measured in turns."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from faceter.contracts.models import ModelMetadata, TensorSpec
from faceter.contracts.quantizations import Latency
from faceter.engines.base import LoadedModel
from faceter.engines.timing import interleaved
from workers.model_input import Batch
from workers.quantization.calibration_inputs import batch_size
from workers.quantization.noise import noise_batches

_BATCHES = (32, 8)
_LONGEST_CALL_MS = 1000.0
"""A larger batch than 1 is timed only if a call is likely to take no longer than this."""
_NOISE = 1.05
"""A ratio of times that equal models can have."""


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
    """Measure both models, call by call in turn, at the batch size they fix, or at 1 and 32.

    Slow models are measured at 8 in place of 32, or at 1 alone.

    Args:
        threads: Threads that the models were loaded with, for the report.
    """

    def measured(size: int) -> Latency:
        batch = noise_batch(original, specs, metadata, seed, size)
        (before_ms, after_ms), runs = interleaved([before, after], batch)
        return Latency(batch=size, before_ms=before_ms, after_ms=after_ms, threads=threads, runs=runs)

    fixed_size, fixed = batch_size(specs)
    if fixed:
        return [measured(fixed_size)]
    single = measured(1)
    slowest = max(single.before_ms, single.after_ms)
    larger = next((size for size in _BATCHES if size * slowest <= _LONGEST_CALL_MS), None)
    return [single] if larger is None else [single, measured(larger)]


def latency_warnings(latency: Sequence[Latency]) -> list[str]:
    """Name the batch sizes at which the quantized model is slower."""
    return [
        f"On this host the quantized model is slower than the original at batch {item.batch}: {item.after_ms:.3g} ms a "
        f"call against {item.before_ms:.3g} ms. Its layers may be too small to make up for quantizing between them."
        for item in latency
        if item.after_ms > _NOISE * item.before_ms
    ]
