"""Interface of a quantization method that rounds: what it is given, and what it returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from faceter.contracts.quantizations import QuantizationRequest
from faceter.graphs.quantization_plan import QuantizationPlan
from workers.quantization.prepare import PreparedNetwork


@dataclass(frozen=True)
class MethodResult:
    """What a method returns.

    Args:
        plan: A quantizer for every weight and activation, and the float model they belong to.
        warnings: What a reader of the report should know.
    """

    plan: QuantizationPlan
    warnings: list[str] = field(default_factory=list)


Method = Callable[[PreparedNetwork, QuantizationRequest], MethodResult]
"""A quantization method: a pure function."""
