"""Optimizing a prepared network: rounding by a method and, for tuned methods, tuning or bit allocation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from faceter.contracts.quantizations import QuantizationMethod, QuantizationRequest
from workers.jobs.stages import Stage
from workers.quantization.datasets import JobDatasets
from workers.quantization.equalization_choice import equalize_if_better
from workers.quantization.methods import methods, tuned_methods
from workers.quantization.mixed.allocation import allocate_bits
from workers.quantization.optimized import OptimizedNetwork
from workers.quantization.prepare import PreparedNetwork
from workers.quantization.tune import tune
from workers.quantization.tuning.inputs.space import can_tune
from workers.quantization.tuning_accuracy import tuning_accuracy
from workers.quantization.tuning_budget import ROUNDING_SECONDS, tuning_seconds
from workers.training.callbacks import Callbacks

_CANNOT_TUNE = "Nothing was tuned: that takes inputs of numbers and an output of floats. The network was rounded."


def optimize_seconds(request: QuantizationRequest) -> float:
    """Return about how long optimization takes, for progress only."""
    return ROUNDING_SECONDS + tuning_seconds(request)


def optimize(
    prepared: PreparedNetwork,
    request: QuantizationRequest,
    datasets: JobDatasets,
    progress: Stage,
    callbacks: Callable[[Stage], Callbacks],
) -> OptimizedNetwork:
    """Quantize a network by the requested method.

    Args:
        request: With its bits and budget filled in.
        callbacks: Returns the callbacks of tuning, given the stage that takes its progress.

    Raises:
        FaceterError: ``METHOD_NOT_APPLICABLE``, ``OUT_OF_MEMORY``, ``TUNING_DIVERGED``.
    """
    rounding = ROUNDING_SECONDS / optimize_seconds(request)
    prepared = replace(prepared, progress=progress.part(0.0, rounding, "measuring activations"))
    if request.method in methods:
        rounded = methods[request.method](prepared, request)
        return OptimizedNetwork(rounded.plan, rounded.warnings)

    method = tuned_methods[request.method]
    warnings: list[str] = []
    if method.equalizes:
        prepared, warnings = equalize_if_better(prepared, request, method.start)
    accuracy = tuning_accuracy(datasets.evaluation, prepared)
    tuning = callbacks(progress.part(rounding, 1.0))
    if request.target is not None:
        tuning.replicas.join(1)  # runs that depend on each other's measurements
        optimized = allocate_bits(method, prepared, request, request.target, datasets, tuning, accuracy)
    elif request.method is QuantizationMethod.AUTO and not can_tune(prepared):
        tuning.replicas.join(1)
        rounded = method.start(prepared, request)
        optimized = OptimizedNetwork(rounded.plan, [*rounded.warnings, _CANNOT_TUNE])
    else:
        optimized = tune(method, prepared, request, tuning, accuracy)
    return optimized.with_warnings_first(warnings)
