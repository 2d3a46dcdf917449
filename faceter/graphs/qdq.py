"""Writing a quantized graph: QuantizeLinear and DequantizeLinear around what integer kernels compute."""

from dataclasses import dataclass, field, replace

import numpy as np
import onnx

from faceter.graphs.quantizer import Quantizer, asymmetric, symmetric
from faceter.graphs.sites import ActivationSite, Sites, WeightSite, clamp_of, moved_from, quantizable
from faceter.graphs.view import Array, GraphView, attribute, node_name, remove_unused, replace_nodes

__all__ = [
    "ActivationSite",
    "BiasQuantizer",
    "QuantizationPlan",
    "Quantizer",
    "Sites",
    "WeightSite",
    "asymmetric",
    "bias_quantizers",
    "fit_biases",
    "quantizable",
    "symmetric",
    "write_qdq",
]

_BIAS_LIMIT = float(2**30)
_BIASED = ("Conv", "Gemm")


@dataclass
class QuantizationPlan:
    """Everything a method decided.

    Attributes:
        model: The canonical, folded float model with its tuned weights and biases.
        weights: Quantizer of each weight, by initializer; codes are signed.
        activations: Quantizer of each activation site, by the site's name; codes are unsigned.
    """

    model: onnx.ModelProto
    weights: dict[str, Quantizer]
    activations: dict[str, Quantizer]
    sites: Sites = field(default_factory=lambda: Sites((), ()))

    def __post_init__(self) -> None:
        if not self.sites.weights:
            self.sites = quantizable(self.model)

    def replacements(self) -> dict[str, Quantizer]:
        """Return the quantizer of every tensor that simulated quantization replaces: weights and activations."""
        found = dict(self.weights)
        for site in self.sites.activations:
            quantizer = self.activations.get(site.name)
            if quantizer is not None:
                found.update(dict.fromkeys(site.tensors, quantizer))
        return found


@dataclass(frozen=True)
class BiasQuantizer:
    """How a layer's bias becomes int32 codes: round(b / S) with S the product of its input's and weight's scales.

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
        """Return the float32 values that the codes of a bias stand for."""
        values: Array = self.quantize(bias).astype(np.float32) * self.scale
        return values


def bias_quantizers(plan: QuantizationPlan) -> list[BiasQuantizer]:
    """Return how every constant bias of a quantized convolution or Gemm is quantized, in order."""
    view = GraphView(plan.model)
    found = []
    for node in view.graph.node:
        if node.op_type not in _BIASED or len(node.input) < 3 or not view.is_initializer(node.input[2]):
            continue
        weight, site = plan.weights.get(node.input[1]), plan.sites.activation(node.input[0])
        source = None if site is None else plan.activations.get(site.name)
        if weight is not None and source is not None:
            found.append(BiasQuantizer(node_name(node), node.input[2], source.scale * weight.scale))
    return found


def fit_biases(plan: QuantizationPlan) -> QuantizationPlan:
    """Return the plan with the scale of near-dead channels raised until their bias fits into int32.

    A channel whose bias is beyond 2^30 steps of its accumulator has weights too small to be seen beside it.
    With one scale for the tensor, all of it is raised. `write_qdq` does this too; doing it twice changes nothing.
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


def write_qdq(plan: QuantizationPlan) -> onnx.ModelProto:
    """Write the quantized graph of a plan, in the plain layout; see `faceter.graphs.layouts`.

    Every quantized tensor keeps its name, which now stands for its dequantized value; its codes are called ``name/q``.
    For b < 8 a Clip on the uint8 codes follows QuantizeLinear, and it also does the work of the ReLU or Clip it
    replaces. Nodes that only move values run on the codes. Weights are 8-bit codes here; see `pack_weights`.

    Exporters' notes on nodes (stack traces and the like) are left out, since they can outweigh packed weights.

    Args:
        plan: A method's result.

    Returns:
        The model, in standard ONNX, with the same inputs and outputs as the plan's.
    """
    return _Writer(fit_biases(plan)).write()


class _Writer:
    def __init__(self, plan: QuantizationPlan) -> None:
        self.plan = plan
        self.model = onnx.ModelProto()
        self.model.CopyFrom(plan.model)
        self.view = GraphView(self.model)
        self.nodes: list[onnx.NodeProto] = []
        self.quantizers: dict[str, Quantizer] = {}
        for site in plan.sites.activations:
            if site.name in plan.activations:
                self.quantizers.update(dict.fromkeys((*site.tensors, *site.moved), plan.activations[site.name]))
        self.codes: dict[str, str] = {}
        self.renamed: dict[str, str] = {}

    def write(self) -> onnx.ModelProto:
        biases = {item.layer: item for item in bias_quantizers(self.plan)}
        for name in self.view.inputs:
            if name in self.quantizers:
                self._quantize(name, name, None)
        for name, quantizer in self.plan.weights.items():
            self._weight(name, quantizer)
        for node in list(self.view.graph.node):
            if self._moves_codes(node):
                self._move(node)
                continue
            bias = biases.get(node_name(node))
            if bias is not None:
                node.input[2] = self._bias(bias)
            self._compute(node)
        for node in self.nodes:
            for index, name in enumerate(node.input):
                if name in self.renamed and node.op_type != "QuantizeLinear":
                    node.input[index] = self.renamed[name]
        replace_nodes(self.view.graph, self.nodes)
        remove_unused(self.view.graph)
        for node in self.view.graph.node:
            node.ClearField("doc_string")
            node.ClearField("metadata_props")
        self.view.graph.ClearField("value_info")
        return self.model

    def _compute(self, node: onnx.NodeProto) -> None:
        """Add a node that computes, with its results quantized where they are to be."""
        clamp = clamp_of(self.view, node)
        if clamp is not None and node.output[0] in self.quantizers:
            self._quantize(node.output[0], node.input[0], clamp)
            return
        results = [name for name in node.output if name in self.quantizers]
        raw = {name: self.view.unique(f"{name}/raw") for name in results}
        for index, name in enumerate(node.output):
            node.output[index] = raw.get(name, name)
        self.nodes.append(node)
        for name in results:
            self._quantize(name, raw[name], None)

    def _quantize(self, name: str, source: str, clamp: tuple[float, float] | None) -> None:
        """Add codes ``name/q`` of the float tensor ``source``, and the dequantized ``name``."""
        quantizer = self.quantizers[name]
        scale, zero_point = self._scale(quantizer)
        codes = self.view.unique(f"{name}/q")
        low, high = int(quantizer.qmin), int(quantizer.qmax)
        if clamp is not None:
            bounds = quantizer.quantize(np.array(clamp, np.float32)).astype(int)
            low, high = max(low, int(bounds[0])), min(high, int(bounds[1]))
        if low > 0 or high < 255:
            whole = self.view.unique(f"{name}/q8")
            self._add("QuantizeLinear", [source, scale, zero_point], whole)
            limits = [
                self.view.shared_initializer("low", np.array(low, np.uint8)),
                self.view.shared_initializer("high", np.array(high, np.uint8)),
            ]
            self._add("Clip", [whole, *limits], codes)
        else:
            self._add("QuantizeLinear", [source, scale, zero_point], codes)
        self._dequantize(name, codes)

    def _dequantize(self, name: str, codes: str) -> None:
        self.codes[name] = codes
        scale, zero_point = self._scale(self.quantizers[name])
        target = name
        if name in self.view.inputs:
            target = self.renamed[name] = self.view.unique(f"{name}/dq")
        self._add("DequantizeLinear", [codes, scale, zero_point], target)

    def _moves_codes(self, node: onnx.NodeProto) -> bool:
        return node.output[0] in self.quantizers and bool(moved_from(self.view, node))

    def _move(self, node: onnx.NodeProto) -> None:
        """Add a node that only moves values, running on codes."""
        first = self.quantizers[node.output[0]]
        data = range(len(node.input)) if node.op_type == "Concat" else [0]
        for index in data:
            node.input[index] = self.codes[node.input[index]]
        if node.op_type == "Pad" and attribute(node, "mode", "constant") == "constant":
            value = self.view.shared_initializer("zero", first.zero_point.astype(np.uint8))
            node.input.extend([""] * (3 - len(node.input)))
            node.input[2] = value
        outputs = list(node.output)
        for index, name in enumerate(outputs):
            node.output[index] = self.view.unique(f"{name}/q") if name else ""
        self.nodes.append(node)
        for name, codes in zip(outputs, node.output, strict=True):
            if name:
                self.quantizers.setdefault(name, first)
                self._dequantize(name, codes)

    def _weight(self, name: str, quantizer: Quantizer) -> None:
        codes = quantizer.quantize(self.view.constant(name))  # type: ignore[arg-type]
        zero_point = quantizer.zero_point.astype(np.int8)
        stored = self.view.add_initializer(f"{name}/q", codes)
        constants = [
            self.view.shared_initializer(f"{name}/s", quantizer.scale),
            self.view.shared_initializer("zero", zero_point),
        ]
        self._add("DequantizeLinear", [stored, *constants], name, axis=quantizer.axis)
        self.model.graph.initializer.remove(self.view.tensor(name))

    def _bias(self, quantizer: BiasQuantizer) -> str:
        bias = self.view.constant(quantizer.bias)
        assert bias is not None
        codes = self.view.add_initializer(f"{quantizer.bias}/q", quantizer.quantize(bias.reshape(-1)))
        scale = self.view.shared_initializer(f"{quantizer.bias}/s", quantizer.scale)
        target = self.view.unique(f"{quantizer.bias}/dq")
        self._add("DequantizeLinear", [codes, scale], target, axis=0 if quantizer.scale.ndim else None)
        return target

    def _scale(self, quantizer: Quantizer) -> tuple[str, str]:
        zero_point = quantizer.zero_point.astype(np.uint8)
        return self.view.shared_initializer("scale", quantizer.scale), self.view.shared_initializer("zero", zero_point)

    def _add(self, operator: str, inputs: list[str], output: str, axis: int | None = None) -> None:
        node = onnx.helper.make_node(operator, inputs, [output])
        if axis is not None:
            node.attribute.append(onnx.helper.make_attribute("axis", axis))
        self.nodes.append(node)
