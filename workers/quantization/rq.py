"""RQ, raw quantization: min–max weights, activation ranges as they come, nothing tuned. The baseline."""

from __future__ import annotations

from dataclasses import dataclass

from faceter.contracts.quantizations import Granularity, QuantizationRequest
from faceter.graphs.qdq import QuantizationPlan, Sites
from faceter.graphs.quantizer import Quantizer
from faceter.graphs.view import Array, GraphView
from workers.quantization.affine import min_max_weight_quantizer
from workers.quantization.calibration import activation_statistics, min_max_quantizers
from workers.quantization.prepared import Outcome, Prepared


@dataclass(frozen=True)
class RawQuantization:
    """Settings of RQ.

    Args:
        deviations: How many deviations γ an activation range from BatchNorm reaches to each side of β.
    """

    deviations: float = 6.0

    def __call__(self, prepared: Prepared, request: QuantizationRequest) -> Outcome:
        """Return the plan: weights min–max, activations β ± ``deviations`` · γ, else as measured."""
        sites = prepared.sites()
        statistics = activation_statistics(prepared, sites, deviations=self.deviations)
        weights = min_max_weights(GraphView(prepared.model), sites, request.weight_bits, request.weight_granularity)
        activations = min_max_quantizers(sites, statistics, request.activation_bits)
        plan = QuantizationPlan(prepared.model, weights, activations, sites)
        return Outcome(plan, [*statistics.notes(), *granularity_notes(sites, request)])


def min_max_weights(view: GraphView, sites: Sites, bits: int, granularity: Granularity) -> dict[str, Quantizer]:
    """Return the quantizer of every weight that just covers it."""
    return {
        site.name: min_max_weight_quantizer(
            weight_of(view, site.name), bits, granularity_of(site.axis, granularity), axis=site.axis or 0
        )
        for site in sites.weights
    }


def weight_of(view: GraphView, name: str) -> Array:
    """Return the values of a weight's initializer."""
    value = view.constant(name)
    if value is None:
        raise KeyError(name)
    return value


def granularity_of(axis: int | None, granularity: Granularity) -> Granularity:
    """Return the granularity asked for, or per tensor where a weight has no axis of output channels."""
    return Granularity.TENSOR if axis is None else granularity


def granularity_notes(sites: Sites, request: QuantizationRequest) -> list[str]:
    """Name the weights that cannot have one scale per channel though it was asked for."""
    names = [site.name for site in sites.weights if site.axis is None]
    if not names or request.weight_granularity is Granularity.TENSOR:
        return []
    return [f"One scale for the whole tensor, there being no axis of output channels: {', '.join(names)}."]
