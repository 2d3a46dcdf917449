"""The result of optimization."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.quantizations import CurvePoint, Tuning
from faceter.graphs.quantization_plan import QuantizationPlan
from workers.quantization.comparison_inputs import HeldOutInputs
from workers.quantization.mixed.trade_off import AllocationResult


@dataclass(frozen=True)
class OptimizedNetwork:
    """The quantized network that a method returns, and how it was tuned.

    Args:
        plan: A quantizer for every weight and activation, and the float model they belong to.
        warnings: What a reader of the report should know.
        tuning: None if nothing was tuned.
        curves: Losses and agreement over steps.
        synthetic: Generated inputs, float32 [N, …]; None if none were generated.
        labels: The float network's class for each of them, [N]; None if it does not classify.
        held_out: Inputs that nothing was tuned on; None if there are none.
        allocation: The chosen bit allocation of a run with a target.
    """

    plan: QuantizationPlan
    warnings: list[str] = field(default_factory=list)
    tuning: Tuning | None = None
    curves: tuple[CurvePoint, ...] = ()
    synthetic: NDArray[np.float32] | None = None
    labels: NDArray[np.int64] | None = None
    held_out: HeldOutInputs | None = None
    allocation: AllocationResult | None = None

    def with_warnings_first(self, warnings: list[str]) -> OptimizedNetwork:
        """Return the same with warnings before the present ones."""
        return replace(self, warnings=[*warnings, *self.warnings])
