"""Bit allocation: plans whose weights have different bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from faceter.contracts.quantizations import Granularity, QuantizationMethod, QuantizationRequest
from faceter.graphs.quantization_plan import QuantizationPlan
from faceter.graphs.quantizer import Quantizer
from faceter.graphs.view import GraphView
from workers.quantization.aciq import ACIQ
from workers.quantization.rq import weight_of

_CLIPPING = ACIQ(allocate=False)


def with_weight_bits(plan: QuantizationPlan, bits: Mapping[str, int]) -> QuantizationPlan:
    """Return the plan with other bits for some of its weights.

    A named weight gets a new quantizer for its values in the plan's model: min–max or analytically clipped, whichever
    has the smaller error, per channel or per tensor as before. All other quantizers stay.

    Args:
        plan: Not changed. Biases that a method has corrected for its own quantizers (ACIQ, DFQ) are wrong for others
            and do harm, so start from a plan of RQ, or correct biases afterwards.
        bits: Bits by weight, 2 to 8.

    Raises:
        KeyError: If the plan has no quantizer for a weight.
    """
    view = GraphView(plan.model)
    return replace(
        plan, weights=plan.weights | {name: weight_quantizer(plan, view, name, count) for name, count in bits.items()}
    )


def weight_quantizer(plan: QuantizationPlan, view: GraphView, name: str, bits: int) -> Quantizer:
    """Return a quantizer for one weight of a plan; see :func:`with_weight_bits`.

    Args:
        view: Of the plan's model.
        bits: 2 to 8.
    """
    granularity = Granularity.TENSOR if plan.weights[name].axis is None else Granularity.CHANNEL
    request = QuantizationRequest(method=QuantizationMethod.ACIQ, weight_bits=bits, weight_granularity=granularity)
    return _CLIPPING.quantize_weight(weight_of(view, name), request, plan.weights[name].axis)


def weight_shapes(plan: QuantizationPlan) -> dict[str, tuple[int, ...]]:
    """Return the shape of every quantized weight, by name, in the order of the graph's sites."""
    view = GraphView(plan.model)
    return {site.name: tuple(view.tensor(site.name).dims) for site in plan.sites.weights if site.name in plan.weights}
