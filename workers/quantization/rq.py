"""RQ, raw quantization: min–max weights and activation ranges without tuning. The baseline."""

from __future__ import annotations

from dataclasses import dataclass

from faceter.contracts.quantizations import Granularity, QuantizationRequest
from faceter.graphs.quantization_plan import QuantizationPlan
from faceter.graphs.quantization_sites import QuantizationSites
from faceter.graphs.quantizer import Quantizer
from faceter.graphs.view import Array, GraphView
from workers.quantization.affine import min_max_weight_quantizer
from workers.quantization.calibration import activation_statistics, min_max_quantizers
from workers.quantization.method import MethodResult
from workers.quantization.prepare import PreparedNetwork


@dataclass(frozen=True)
class RawQuantization:
    """Settings of RQ.

    Args:
        deviations: Half-width of an activation range from BatchNorm, in standard deviations γ about β.
    """

    deviations: float = 6.0

    def __call__(self, prepared: PreparedNetwork, request: QuantizationRequest) -> MethodResult:
        """Return the plan: min–max weights, activation ranges β ± ``deviations`` · γ or as measured."""
        sites = prepared.sites()
        statistics = activation_statistics(prepared, sites, deviations=self.deviations)
        weights = min_max_weights(GraphView(prepared.model), sites, request.weight_bits, request.weight_granularity)
        activations = min_max_quantizers(sites, statistics, request.activation_bits)
        plan = QuantizationPlan(prepared.model, weights, activations, sites)
        return MethodResult(plan, [*statistics.warnings(), *granularity_warnings(sites, request)])


def min_max_weights(
    view: GraphView, sites: QuantizationSites, bits: int, granularity: Granularity
) -> dict[str, Quantizer]:
    """Return a min–max quantizer for every weight, by name."""
    return {
        site.name: min_max_weight_quantizer(
            weight_of(view, site.name), bits, granularity_of(site.axis, granularity), axis=site.axis or 0
        )
        for site in sites.weights
    }


def weight_of(view: GraphView, name: str) -> Array:
    """Return the values of a weight's initializer.

    Raises:
        KeyError: If it is not constant.
    """
    value = view.constant(name)
    if value is None:
        raise KeyError(name)
    return value


def granularity_of(axis: int | None, granularity: Granularity) -> Granularity:
    """Return the requested granularity; per tensor for weights without an axis of output channels."""
    return Granularity.TENSOR if axis is None else granularity


def granularity_warnings(sites: QuantizationSites, request: QuantizationRequest) -> list[str]:
    """Return a warning that names the weights without an axis of output channels, if per channel was requested."""
    names = [site.name for site in sites.weights if site.axis is None]
    if not names or request.weight_granularity is Granularity.TENSOR:
        return []
    return [f"One scale per tensor, since there is no axis of output channels: {', '.join(names)}."]
