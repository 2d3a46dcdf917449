"""What a quantization method decides: a quantizer for each weight and activation, and the biases that follow."""

from dataclasses import dataclass, field, replace

import numpy as np
import onnx

from faceter.graphs.quantization_sites import QuantizationSites, find_quantization_sites
from faceter.graphs.quantizer import Quantizer
from faceter.graphs.view import Array, GraphView, node_name

_BIAS_LIMIT = float(2**30)
_BIASED = ("Conv", "Gemm")


@dataclass
class QuantizationPlan:
    """The result of a quantization method.

    Attributes:
        model: The canonical, folded float model with its tuned weights and biases.
        weights: Quantizer of each weight, by initializer; codes are signed.
        activations: Quantizer of each activation site, by the site's name; codes are unsigned.
    """

    model: onnx.ModelProto
    weights: dict[str, Quantizer]
    activations: dict[str, Quantizer]
    sites: QuantizationSites = field(default_factory=lambda: QuantizationSites((), ()))

    def __post_init__(self) -> None:
        if not self.sites.weights:
            self.sites = find_quantization_sites(self.model)

    def replacements(self) -> dict[str, Quantizer]:
        """Return the quantizer of every weight and activation tensor that simulated quantization replaces."""
        quantizers = dict(self.weights)
        for site in self.sites.activations:
            quantizer = self.activations.get(site.name)
            if quantizer is not None:
                quantizers.update(dict.fromkeys(site.tensors, quantizer))
        return quantizers


@dataclass(frozen=True)
class BiasQuantizer:
    """Quantizer of a bias to int32 codes: round(b / S) with S the product of its input's and weight's scales.

    Attributes:
        layer: Name of the node.
        bias: The initializer.
        scale: S, float32 of shape [] or [C].
    """

    layer: str
    bias: str
    scale: Array

    def quantize(self, bias: Array) -> Array:
        """Return the int32 codes of a bias [C]."""
        codes = np.rint(bias.astype(np.float64) / self.scale.astype(np.float64))
        return np.clip(codes, -_BIAS_LIMIT, _BIAS_LIMIT).astype(np.int32)

    def fake(self, bias: Array) -> Array:
        """Return a bias [C] after quantization and dequantization, float32."""
        values: Array = self.quantize(bias).astype(np.float32) * self.scale
        return values


def bias_quantizers(plan: QuantizationPlan) -> list[BiasQuantizer]:
    """Return the quantizer of each constant bias of a quantized Conv or Gemm, in order."""
    view = GraphView(plan.model)
    quantizers = []
    for node in view.graph.node:
        if node.op_type not in _BIASED or len(node.input) < 3 or not view.is_initializer(node.input[2]):
            continue
        weight, site = plan.weights.get(node.input[1]), plan.sites.activation(node.input[0])
        source = None if site is None else plan.activations.get(site.name)
        if weight is not None and source is not None:
            quantizers.append(BiasQuantizer(node_name(node), node.input[2], source.scale * weight.scale))
    return quantizers


def fit_biases(plan: QuantizationPlan) -> QuantizationPlan:
    """Return the plan with weight scales raised where a bias would not fit into int32.

    A channel whose bias exceeds 2^30 steps of its accumulator has weights that are negligible beside it. With one scale
    per tensor the whole tensor's scale is raised. Idempotent; `write_qdq` does it too.
    """
    view = GraphView(plan.model)
    weights = dict(plan.weights)
    for node in view.graph.node:
        if node.op_type not in _BIASED or len(node.input) < 3:
            continue
        weight, site = weights.get(node.input[1]), plan.sites.activation(node.input[0])
        bias = view.constant(node.input[2])
        source = None if site is None else plan.activations.get(site.name)
        if weight is None or source is None or bias is None:
            continue
        size = np.abs(bias.astype(np.float64)).reshape(-1)
        needed = (size if weight.scale.ndim else size.max(initial=0.0)) / (_BIAS_LIMIT * float(source.scale))
        if np.any(weight.scale < needed):
            raised = np.nextafter(np.maximum(weight.scale, needed).astype(np.float32), np.float32(np.inf))
            scale = np.where(weight.scale < needed, raised, weight.scale)
            weights[node.input[1]] = replace(weight, scale=scale)
    return replace(plan, weights=weights)
