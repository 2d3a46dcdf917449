"""The report on a quantized model: settings, tensors, size, energy, accuracy, latency and warnings."""

from __future__ import annotations

import numpy as np

from faceter.contracts.models import ModelMetadata
from faceter.contracts.quantizations import QuantizationReport, QuantizationRequest, Size, TradeOff
from faceter.datasets.kinds import InputDataset
from faceter.graphs.layouts import apply_layout
from faceter.graphs.packing import weight_bytes
from faceter.graphs.quantization_plan import QuantizationPlan
from faceter.graphs.view import GraphView
from workers.quantization.datasets import JobDatasets
from workers.quantization.energy import estimate_energy
from workers.quantization.export import ExportedModel
from workers.quantization.float_layers import float_layers
from workers.quantization.measure import Measurements
from workers.quantization.mixed.accuracy import accuracy_of
from workers.quantization.mixed.trade_off import measured_trade_off, target_warnings
from workers.quantization.optimized import OptimizedNetwork
from workers.quantization.prepare import FloatModel, PreparedNetwork


def build_report(
    request: QuantizationRequest,
    original: FloatModel,
    prepared: PreparedNetwork,
    optimized: OptimizedNetwork,
    exported: ExportedModel,
    measured: Measurements,
    datasets: JobDatasets,
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
        float_layers=float_layers(optimized.plan),
        agreement=measured.agreement,
        quality=measured.quality,
        size=size,
        energy=estimate_energy(original.model, optimized.plan),
        latency=measured.latency,
        layouts=measured.layouts,
        tuning=optimized.tuning,
        trade_off=trade_off,
        warnings=[
            *target_warnings(request.target, trade_off, size),
            *optimized.warnings,
            *measured.warnings,
            _bits_warning(request, trade_off),
            f"Signal-to-noise of activations was measured on {prepared.source.value}.",
            *_data_warnings(prepared.metadata, datasets.evaluation, measured),
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


def _bits_warning(request: QuantizationRequest, trade_off: TradeOff | None) -> str:
    bits = [request.weight_bits] if trade_off is None else trade_off.points[trade_off.chosen].bits.values()
    each = f"{min(bits)} bits" if min(bits) == max(bits) else f"from {min(bits)} to {max(bits)} bits each"
    return (
        f"Weights of every layer, the first and the last included, have {each}; activations that enter a layer and "
        f"residual sums have {request.activation_bits}; the network's input, summands and outputs have 8."
    )


def _data_warnings(metadata: ModelMetadata, evaluation: InputDataset | None, measured: Measurements) -> list[str]:
    warnings = []
    if measured.agreement.source == "noise":
        warnings.append(
            "No data were given: agreement was measured on seeded noise, on which networks are less confident than on "
            "real inputs."
        )
    if evaluation is not None and not _can_measure_accuracy(metadata, evaluation):
        warnings.append("No score was measured on the evaluation data: the model's task or metadata do not say how.")
    return warnings


def _can_measure_accuracy(metadata: ModelMetadata, evaluation: InputDataset) -> bool:
    return evaluation.sample_labels(metadata.labels) is not None or metadata.detection is not None
