"""The rounding of ONNX Runtime's integer kernels, for a simulated network that gives the same codes.

In a deep network one code that is rounded differently changes hundreds of others, so equality up to float rounding is
not enough: convolutions and additions round here as the kernels do.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from onnx import NodeProto
from torch import Tensor

from faceter.graphs.quantization_plan import QuantizationPlan
from faceter.graphs.quantization_sites import after_clamps
from faceter.graphs.quantizer import Quantizer
from faceter.graphs.view import GraphView

Function = Callable[[Tensor], Tensor]


def with_kernel_rounding(plan: QuantizationPlan, functions: dict[str, Function]) -> dict[str, Function]:
    """Return fake quantization with the results of convolutions and additions rounded as integer kernels round them.

    Args:
        plan: A quantized network.
        functions: Plain fake quantization of its tensors; see `simulate.replacements`.
    """
    view = GraphView(plan.model)
    rounded = dict(functions)
    for node in plan.model.graph.node:
        target = _target(view, plan, node.output[0])
        sources = [_quantizer(plan, name) for name in node.input[:2]]
        if target is None or sources[0] is None:
            continue
        if node.op_type == "Conv" and node.input[1] in plan.weights:
            rounded[node.output[0]] = _requantized(sources[0].scale * plan.weights[node.input[1]].scale, target)
        elif node.op_type == "Add" and sources[1] is not None:
            _round_as_added(rounded, node, (sources[0], sources[1]), target)
    return rounded


def _quantizer(plan: QuantizationPlan, name: str) -> Quantizer | None:
    site = plan.sites.activation(name)
    return None if site is None else plan.activations.get(site.name)


def _target(view: GraphView, plan: QuantizationPlan, name: str) -> Quantizer | None:
    """Return the quantizer of a result, itself or after the ReLU or clip that alone reads it."""
    quantizers = plan.replacements()
    return quantizers.get(name) or quantizers.get(after_clamps(view, name))


def _requantized(accumulator_scale: np.ndarray, target: Quantizer) -> Function:
    """Round a convolution's result: q₃ = round(M Σ) + Z₃, with the int32 sum Σ and one multiplier M = S₁ S₂ / S₃.

    M is float32. Computing Σ · S₁ S₂ and dividing by S₃ would round some sums next to a tie differently.
    """
    multiplier = (accumulator_scale / target.scale).astype(np.float32)
    low, high = (float(code - target.zero_point) for code in (target.qmin, target.qmax))

    def requantize(x: Tensor) -> Tensor:
        def per_channel(values: np.ndarray) -> Tensor:
            return torch.from_numpy(np.asarray(values)).reshape(-1, *[1] * (x.ndim - 2))

        sums = torch.round(x / per_channel(accumulator_scale))
        return torch.clamp(torch.round(sums * per_channel(multiplier)), low, high) * float(target.scale)

    return requantize


def _round_as_added(
    functions: dict[str, Function], node: NodeProto, sources: tuple[Quantizer, Quantizer], target: Quantizer
) -> None:
    """Round an addition's result: q₃ = round(q₁ r₁ + (q₂ r₂ + f)), fused, with r = S / S₃ and f = Z₃ − (r₁ Z₁ + r₂ Z₂).

    All in float32, where f, being large, decides on which side of a tie a sum falls.
    """
    seen: dict[str, Tensor] = {}
    for name in node.input:
        functions[name] = _remembered(name, functions.get(name), seen)
    first, second = sources
    ratios = [np.float32(source.scale / target.scale) for source in sources]
    shifts = [ratio * np.float32(source.zero_point) for ratio, source in zip(ratios, sources, strict=True)]
    fixed = float(np.float32(target.zero_point) - np.float32(shifts[0] + shifts[1]))
    low, high = float(target.qmin), float(target.qmax)

    def codes(name: str, source: Quantizer) -> Tensor:
        return torch.round(seen[name] / float(source.scale)).double() + float(source.zero_point)

    def add(_: Tensor) -> Tensor:
        inner = (codes(node.input[1], second) * float(ratios[1]) + fixed).float().double()
        total = (codes(node.input[0], first) * float(ratios[0]) + inner).float()
        return (torch.clamp(torch.round(total), low, high) - float(target.zero_point)) * float(target.scale)

    functions[node.output[0]] = add


def _remembered(name: str, function: Function | None, seen: dict[str, Tensor]) -> Function:
    def remember(x: Tensor) -> Tensor:
        seen[name] = x if function is None else function(x)
        return seen[name]

    return remember
