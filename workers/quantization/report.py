"""The report on a quantized model: settings, tensors, size, energy, accuracy, latency and warnings."""

from __future__ import annotations

import numpy as np

from faceter.contracts.models import ModelMetadata
from faceter.contracts.quantizations import QuantizationReport, QuantizationRequest, Size
from faceter.datasets.kinds import InputDataset
from faceter.datasets.tokenized import TokenizableDataset
from faceter.engines.input_shapes import InputShapes
from faceter.graphs.layouts import apply_layout
from faceter.graphs.packing import weight_bytes
from faceter.graphs.quantization_plan import QuantizationPlan
from faceter.graphs.view import GraphView
from workers.quantization.datasets import JobDatasets
from workers.quantization.energy import estimate_energy
from workers.quantization.export import ExportedModel
from workers.quantization.float_layers import float_layers, precision_warnings
from workers.quantization.measure import Measurements
from workers.quantization.mixed.accuracy import accuracy_of
from workers.quantization.mixed.trade_off import measured_trade_off, target_warnings
from workers.quantization.optimized import OptimizedNetwork
from workers.quantization.prepare import FloatModel, PreparedNetwork
from workers.text_input import truncation_warnings


def build_report(
    request: QuantizationRequest,
    original: FloatModel,
    prepared: PreparedNetwork,
    optimized: OptimizedNetwork,
    exported: ExportedModel,
    measured: Measurements,
    datasets: JobDatasets,
    shapes: InputShapes,
) -> QuantizationReport:
    """Return the report on a quantized model."""
    size = size_of(original, optimized.plan, exported, measured.layout)
    trade_off = None
    if optimized.allocation is not None and request.target is not None:
        accuracy = accuracy_of(measured.agreement, measured.quality)
        trade_off = measured_trade_off(optimized.allocation, request.target, accuracy, size)
    return QuantizationReport(
        settings=request,
        tensors=measured.tensors,
        input_shapes=shapes.chosen,
        float_layers=float_layers(optimized.plan),
        agreement=measured.agreement,
        quality=measured.quality,
        size=size,
        energy=estimate_energy(original.model, optimized.plan, prepared.shapes),
        latency=measured.latency,
        layouts=measured.layouts,
        tuning=optimized.tuning,
        trade_off=trade_off,
        warnings=[
            *original.warnings,
            *target_warnings(request.target, trade_off, size),
            *optimized.warnings,
            *measured.warnings,
            *_shape_warnings(shapes),
            *precision_warnings(optimized.plan, request.activation_bits),
            *_signal_to_noise_warnings(optimized.plan, prepared),
            *_data_warnings(prepared.metadata, datasets.evaluation, measured),
            *_truncation_warnings(datasets, prepared),
        ],
    )


def size_of(original: FloatModel, plan: QuantizationPlan, exported: ExportedModel, layout: str) -> Size:
    """Return the bytes of the file and of its weights, before and after.

    Args:
        layout: The layout that the model is served in.
    """
    view = GraphView(plan.model)
    return Size(
        before=len(original.content),
        packed=exported.packed.ByteSize(),
        served=apply_layout(exported.plain, layout).ByteSize(),
        weights_before=sum(np.asarray(view.constant(name)).nbytes for name in plan.weights),
        weights_packed=weight_bytes(exported.packed),
    )


def _signal_to_noise_warnings(plan: QuantizationPlan, prepared: PreparedNetwork) -> list[str]:
    return [f"Signal-to-noise of activations was measured on {prepared.source.value}."] if plan.activations else []


def _shape_warnings(shapes: InputShapes) -> list[str]:
    """Name the sizes that the file leaves open and that nobody gave."""
    if not shapes.inferred:
        return []
    shown = " and ".join(f"{name} {list(shapes.shapes[name])}" for name in shapes.inferred)
    return [
        f"The file leaves sizes of its inputs open: it was run at {shown}, the smallest sizes at which it runs, and "
        "the figures hold for these. Give input_shapes for others."
    ]


def _data_warnings(metadata: ModelMetadata, evaluation: InputDataset | None, measured: Measurements) -> list[str]:
    warnings = []
    if measured.agreement.source == "noise":
        warnings.append(
            "No data were given: agreement was measured on seeded noise, on which networks are less confident than on "
            "real inputs."
        )
        if metadata.text is not None and metadata.input_shapes:
            length = next(iter(metadata.input_shapes.values()))[-1]
            warnings.append(f"Noise of a text model is {length} random tokens. Give a dataset of texts for real ones.")
    compared = measured.agreement.cosine is not None
    if evaluation is not None and not compared and not _can_measure_accuracy(metadata, evaluation):
        warnings.append("No score was measured on the evaluation data: the model's task or metadata do not say how.")
    return warnings


def _truncation_warnings(datasets: JobDatasets, prepared: PreparedNetwork) -> list[str]:
    """Say how many texts of the datasets are longer than the model takes."""
    warnings: list[str] = []
    for role, data in (("calibration", datasets.calibration), ("evaluation", datasets.evaluation)):
        if isinstance(data, TokenizableDataset):
            warnings += [f"The {role} data: {text}" for text in truncation_warnings(data, prepared.inputs)]
    return warnings


def _can_measure_accuracy(metadata: ModelMetadata, evaluation: InputDataset) -> bool:
    return evaluation.sample_labels(metadata.labels) is not None or metadata.detection is not None
