"""Plans whose weights have bits of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from faceter.contracts.quantizations import Granularity, QuantizationMethod, QuantizationRequest
from faceter.graphs.qdq import QuantizationPlan
from faceter.graphs.quantizer import Quantizer
from faceter.graphs.view import GraphView
from workers.quantization.aciq import AnalyticClipping
from workers.quantization.rq import weight_of

_CLIPPING = AnalyticClipping(allocate=False)


def with_weight_bits(plan: QuantizationPlan, bits: Mapping[str, int]) -> QuantizationPlan:
    """Return the plan with other bits for some of its weights.

    A weight named gets a new quantizer of that many bits, made from the values it has in the plan's model: min–max or
    analytically clipped, whichever errs less, per channel or per tensor as before. Weights not named keep their
    quantizers, activations theirs.

    Args:
        plan: A method's result; not changed. Biases that a method corrected for the quantizers it had (ACIQ, DFQ) are
            wrong for others, and cost more than they gain; so start from a plan of RQ, or one whose biases are
            corrected afterwards.
        bits: Bits by weight, 2 to 8.

    Raises:
        KeyError: If the plan quantizes no weight of a name.
    """
    view = GraphView(plan.model)
    return replace(
        plan, weights=plan.weights | {name: weight_quantizer(plan, view, name, count) for name, count in bits.items()}
    )


def weight_quantizer(plan: QuantizationPlan, view: GraphView, name: str, bits: int) -> Quantizer:
    """Return a quantizer of some bits for one weight of a plan; see :func:`with_weight_bits`.

    Args:
        plan: The plan.
        view: Of the plan's model.
        name: The weight.
        bits: Bits of its codes, 2 to 8.
    """
    granularity = Granularity.TENSOR if plan.weights[name].axis is None else Granularity.CHANNEL
    request = QuantizationRequest(method=QuantizationMethod.ACIQ, weight_bits=bits, weight_granularity=granularity)
    return _CLIPPING.weight(weight_of(view, name), request, plan.weights[name].axis)


def weight_shapes(plan: QuantizationPlan) -> dict[str, tuple[int, ...]]:
    """Return the shape of every quantized weight, by name, in the order of the graph's sites."""
    view = GraphView(plan.model)
    return {site.name: tuple(view.tensor(site.name).dims) for site in plan.sites.weights if site.name in plan.weights}
