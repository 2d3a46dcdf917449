"""Measuring an exported model: noise of each tensor, fastest layout, agreement and accuracy, latency."""

from __future__ import annotations

from dataclasses import dataclass

from faceter.contracts.quantizations import Agreement, Latency, LayoutChoice, Quality, TensorQuantization
from faceter.contracts.settings import Settings
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.engines.saturation import sums_saturate
from faceter.host import processor_count
from workers.jobs.stages import Stage
from workers.quantization import layouts
from workers.quantization.agreement import measure_agreement
from workers.quantization.comparison_inputs import comparison_inputs
from workers.quantization.datasets import JobDatasets
from workers.quantization.export import ExportedModel
from workers.quantization.latency import latency_warnings, measure_latency, noise_batch
from workers.quantization.optimized import OptimizedNetwork
from workers.quantization.prepare import FloatModel, PreparedNetwork
from workers.quantization.tensor_reports import tensor_reports

_TENSOR_BATCHES = 2
_COMPARE_SECONDS = (10.0, 30.0)
_SHARE_OF_WORK = 0.75
"""Of the seconds that quantizing took: comparing takes no longer, but may take 10 seconds and takes at most 30."""
_STAGE_SECONDS = {
    "measuring each tensor": 2.0,
    "choosing the fastest layout": 2.0,
    "comparing with the original": _COMPARE_SECONDS[0],
    "measuring speed": 2.0,
}
MEASURE_SECONDS = sum(_STAGE_SECONDS.values())


@dataclass(frozen=True)
class Measurements:
    """What was measured of an exported model.

    Args:
        tensors: Every quantized tensor.
        layout: Name of the fastest layout.
        layouts: Every layout that was timed.
        quality: Accuracy before and after; empty without evaluation data.
        warnings: What a reader of the report should know.
    """

    tensors: list[TensorQuantization]
    layout: str
    layouts: list[LayoutChoice]
    agreement: Agreement
    quality: list[Quality]
    latency: list[Latency]
    warnings: list[str]


def _compare_seconds(work_seconds: float) -> float:
    least, most = _COMPARE_SECONDS
    return min(most, max(least, _SHARE_OF_WORK * work_seconds))


def _cut_short(agreement: Agreement, samples: int, seconds: float) -> list[str]:
    if agreement.samples >= samples:
        return []
    return [
        f"Agreement was measured on {agreement.samples} of {samples} inputs: comparing ends after "
        f"{seconds:.0f} seconds, unless evaluation data is given."
    ]


def measure(
    original: FloatModel,
    prepared: PreparedNetwork,
    optimized: OptimizedNetwork,
    exported: ExportedModel,
    datasets: JobDatasets,
    seed: int,
    settings: Settings,
    progress: Stage,
    *,
    work_seconds: float,
) -> Measurements:
    """Measure an exported model by the engine that serves it, against the float model.

    Args:
        settings: The threads that predictions are served with.
        work_seconds: How long quantizing took; bounds the time of comparing.
    """
    specs, metadata, threads = prepared.inputs, prepared.metadata, settings.inference_threads
    stages = progress.stages(_STAGE_SECONDS)

    stage = stages.enter("measuring each tensor")
    tensors = tensor_reports(optimized.plan, prepared.batches[:_TENSOR_BATCHES], stage)

    stages.enter("choosing the fastest layout")
    engine = OnnxRuntimeEngine()
    single = noise_batch(prepared.original, specs, metadata, seed, 1)
    fastest = layouts.choose(exported.content, engine, single, threads=threads, saturates=sums_saturate(engine))

    stage = stages.enter("comparing with the original")
    inputs = comparison_inputs(prepared.original, specs, metadata, datasets, optimized.held_out, seed)
    before = engine.load(original.content, threads=processor_count())
    after = engine.load(exported.content, threads=processor_count(), layout=fastest.layout)
    seconds = _compare_seconds(work_seconds)
    agreement, quality = measure_agreement(before, after, inputs, metadata, datasets.evaluation, stage, seconds=seconds)
    before.close()
    after.close()

    stages.enter("measuring speed")
    served = engine.load(original.content, threads=threads)
    latency = measure_latency(served, fastest.loaded, prepared.original, specs, metadata, seed, threads)
    served.close()
    fastest.loaded.close()

    warnings = [*fastest.warnings, *latency_warnings(latency), *_cut_short(agreement, inputs.samples, seconds)]
    return Measurements(tensors, fastest.layout, fastest.choices, agreement, quality, latency, warnings)
