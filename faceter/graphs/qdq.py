"""Writing a quantized graph in QDQ form: QuantizeLinear and DequantizeLinear around integer operators."""

import numpy as np
import onnx

from faceter.graphs.quantization_plan import BiasQuantizer, QuantizationPlan, bias_quantizers, fit_biases
from faceter.graphs.quantization_sites import channel_clamp_of, clamp_of, is_embedding, moved_tensors
from faceter.graphs.quantizer import Quantizer
from faceter.graphs.view import Array, GraphView, attribute, node_name, remove_unused, replace_nodes


def write_qdq(plan: QuantizationPlan) -> onnx.ModelProto:
    """Return the quantized graph of a plan as standard ONNX, in the plain layout; see `faceter.graphs.layouts`.

    The name of a quantized tensor denotes its dequantized value; its codes are ``name/q``. For b < 8 a Clip on the
    uint8 codes follows QuantizeLinear; it also replaces a ReLU or Clip of the graph, and a Min of codes a Min with one
    bound per channel. Data-movement operators run on codes, and so does the lookup of an embedding. Weights are 8-bit
    codes; see `pack_weights`. Doc strings and metadata of nodes are removed, since they can be larger than packed
    weights.
    """
    return _QdqWriter(fit_biases(plan)).write()


class _QdqWriter:
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
        self.tables: dict[str, tuple[str, list[str], int | None]] = {}
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
            if node.op_type == "Gather" and node.input[0] in self.tables:
                self._look_up(node)
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
        """Add a node that is not data movement, and quantize those of its results that have a quantizer."""
        if node.output[0] in self.quantizers:
            clamp = clamp_of(self.view, node)
            bound = channel_clamp_of(self.view, node)
            if clamp is not None:
                self._quantize(node.output[0], node.input[0], clamp)
                return
            if bound is not None:
                self._quantize_bounded(node, bound)
                return
        results = [name for name in node.output if name in self.quantizers]
        raw = {name: self.view.unique(f"{name}/raw") for name in results}
        for index, name in enumerate(node.output):
            node.output[index] = raw.get(name, name)
        self.nodes.append(node)
        for name in results:
            self._quantize(name, raw[name], None)

    def _quantize(self, name: str, source: str, clamp: tuple[float, float] | None, bound: Array | None = None) -> None:
        """Add the codes ``name/q`` of the float tensor ``source``, and the dequantized ``name``.

        Args:
            clamp: Bounds of all values.
            bound: Largest code of each channel.
        """
        quantizer = self.quantizers[name]
        scale, zero_point = self._scale(quantizer)
        codes = self.view.unique(f"{name}/q")
        low, high = int(quantizer.qmin), int(quantizer.qmax)
        if clamp is not None:
            bounds = quantizer.quantize(np.array(clamp, np.float32)).astype(int)
            low, high = max(low, int(bounds[0])), min(high, int(bounds[1]))
        whole = codes
        if bound is not None:
            whole = self.view.unique(f"{name}/unbounded")
            limit = self.view.add_initializer(f"{name}/bound", bound)
        if low > 0 or high < 255:
            unclipped = self.view.unique(f"{name}/q8")
            self._add("QuantizeLinear", [source, scale, zero_point], unclipped)
            limits = [
                self.view.shared_initializer("low", np.array(low, np.uint8)),
                self.view.shared_initializer("high", np.array(high, np.uint8)),
            ]
            self._add("Clip", [unclipped, *limits], whole)
        else:
            self._add("QuantizeLinear", [source, scale, zero_point], whole)
        if bound is not None:
            self._add("Min", [whole, limit], codes)
        self._dequantize(name, codes)

    def _quantize_bounded(self, node: onnx.NodeProto, bound: Array) -> None:
        """Add a Min with one bound per channel, after its ReLU if there is one: a Min of codes."""
        name, source = node.output[0], node.input[0]
        relu = self.view.producer.get(source)
        quantizer = self.quantizers[name]
        clamp = None
        alone = relu is not None and relu.op_type == "Relu" and self.view.only_consumer(source) is not None
        if relu is not None and alone and relu in self.nodes:
            self.nodes.remove(relu)
            source, clamp = relu.input[0], (0.0, np.inf)
        limits = quantizer.quantize(bound)
        self._quantize(name, source, clamp, limits if np.any(limits < quantizer.qmax) else None)

    def _dequantize(self, name: str, codes: str) -> None:
        self.codes[name] = codes
        scale, zero_point = self._scale(self.quantizers[name])
        target = name
        if name in self.view.inputs:
            target = self.renamed[name] = self.view.unique(f"{name}/dq")
        self._add("DequantizeLinear", [codes, scale, zero_point], target)

    def _moves_codes(self, node: onnx.NodeProto) -> bool:
        return node.output[0] in self.quantizers and bool(moved_tensors(self.view, node))

    def _move(self, node: onnx.NodeProto) -> None:
        """Add a data-movement node that runs on codes."""
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

    def _look_up(self, node: onnx.NodeProto) -> None:
        """Add the lookup of an embedding: rows of codes, then dequantized."""
        codes, constants, axis = self.tables[node.input[0]]
        name = node.output[0]
        rows = self.view.unique(f"{name}/rows")
        node.input[0], node.output[0] = codes, rows
        self.nodes.append(node)
        target = self.view.unique(f"{name}/raw") if name in self.quantizers else name
        self._add("DequantizeLinear", [rows, *constants], target, axis=None if axis is None else -1)
        if name in self.quantizers:
            self._quantize(name, target, None)

    def _weight(self, name: str, quantizer: Quantizer) -> None:
        codes = quantizer.quantize(self.view.constant(name))  # type: ignore[arg-type]
        zero_point = quantizer.zero_point.astype(np.int8)
        stored = self.view.add_initializer(f"{name}/q", codes)
        constants = [
            self.view.shared_initializer(f"{name}/s", quantizer.scale),
            self.view.shared_initializer("zero", zero_point),
        ]
        readers = [is_embedding(self.view, node) for node in self.view.consumers[name]]
        if any(readers):
            self.tables[name] = stored, constants, quantizer.axis
        if not all(readers):
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
